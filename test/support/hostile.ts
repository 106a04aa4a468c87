/** What a role or a database may set by which an engine that trusts its defaults would break. */
export const hostile: Record<string, string> = {
  datestyle: 'SQL, DMY',
  intervalstyle: 'sql_standard',
  timezone: 'Asia/Kathmandu',
  extra_float_digits: '-15',
  bytea_output: 'escape',
  lc_monetary: 'C',
  default_transaction_isolation: 'serializable',
  default_transaction_read_only: 'on',
  default_transaction_deferrable: 'on',
  row_security: 'off',
  statement_timeout: '1000',
  lock_timeout: '1',
  idle_in_transaction_session_timeout: '1',
  idle_session_timeout: '2000',
  standard_conforming_strings: 'off',
  client_encoding: 'LATIN1',
  array_nulls: 'off',
  transform_null_equals: 'on',
  jit: 'on',
};

/**
 * SQL that sets all of it on a database. TEST_HOSTILE=true runs any test on such databases:
 * `TEST_HOSTILE=true npm run test:one -- FILE`.
 */
export const makeHostile = (database: string) =>
  Object.entries(hostile)
    .map(([name, value]) => `alter database ${database} set ${name} to '${value}'`)
    .join('; ');

/** For sessions of an application's own, which could not work at all otherwise: startup options of theirs. */
export const applicationOptions = [
  'default_transaction_read_only=off',
  'statement_timeout=0',
  'lock_timeout=0',
  'idle_in_transaction_session_timeout=0',
  'idle_session_timeout=0',
]
  .map((setting) => `-c ${setting}`)
  .join(' ');
