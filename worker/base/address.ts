import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { messageOf, UsageError } from './errors.ts';

/** A parsed database URL, as libpq reads it: where the database is, and how its connection is encrypted. */
export type Address = {
  host: string;
  port: number | undefined;
  user: string | undefined;
  password: string | undefined;
  database: string | undefined;
  application_name: string | undefined;
  options: string | undefined;
  /** The schema of our tables, if the address names one, as Prisma writes it: `?schema=acme`. */
  schema: string | undefined;
  sslmode: SslMode;
  /** False: not encrypted. */
  ssl: ConnectionOptions | false;
};

const modes = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
type SslMode = (typeof modes)[number];

/**
 * Reads `postgres://user:password@host:port/database?sslmode=...`. The host may be the directory of a Unix socket:
 * `postgres:///db?host=/var/run/postgresql`, `postgres://user@%2Fvar%2Frun%2Fpostgresql/db`.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
 * @throws UsageError that names the part at fault
 */
export function readAddress(databaseUrl: string): Address {
  const url = parse(databaseUrl);
  const param = (name: string) => url.searchParams.get(name) || undefined;
  const host = param('host') ?? decoded(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  const port = Number(param('port') ?? url.port) || undefined;
  const sslmode = modeOf(param('sslmode') ?? plainSsl(param('ssl')) ?? process.env['PGSSLMODE']);
  return {
    // An empty host is libpq's default, which pg takes from PGHOST or sets to localhost.
    host,
    port,
    user: param('user') ?? (decoded(url.username) || undefined),
    password: param('password') ?? (decoded(url.password) || undefined),
    database: param('dbname') ?? (decoded(url.pathname.slice(1)) || undefined),
    application_name: param('application_name'),
    options: param('options'),
    schema: url.searchParams.getAll('schema').at(-1) || undefined,
    sslmode,
    ssl: (host || process.env['PGHOST'] || '').startsWith('/') ? false : tlsOf(sslmode, param),
  };
}

/** Adds the schema of our tables to an address. */
export const withSchema = (databaseUrl: string, schema: string | undefined): string =>
  schema ? `${databaseUrl}${databaseUrl.includes('?') ? '&' : '?'}schema=${encodeURIComponent(schema)}` : databaseUrl;

/** A placeholder: WHATWG URLs refuse a user without a host, which libpq allows. */
const noHost = 'rowmill.invalid';

function parse(databaseUrl: string): URL {
  if (!/^postgres(ql)?:\/\//.test(databaseUrl)) throw new UsageError('must start with postgres:// or postgresql://');
  const url = URL.parse(databaseUrl) ?? URL.parse(databaseUrl.replace(/@(?=[:/?]|$)/, `@${noHost}`)) ?? undefined;
  if (!url) throw new UsageError('is no valid address: percent-encode special characters of the password');
  if (url.hostname === noHost) url.host = '';
  return url;
}

/** Without percent-encoding, if it is any. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The `ssl` parameter of node-postgres, which libpq does not have, as an sslmode. */
function plainSsl(ssl: string | undefined): string | undefined {
  if (ssl === 'true' || ssl === '1') return 'verify-full';
  if (ssl === 'no-verify') return 'require';
  return ssl && 'disable';
}

/** Without `sslmode` it is `disable`, as in node-postgres; libpq would try TLS first. */
function modeOf(text = 'disable'): SslMode {
  if (text === 'no-verify') return 'require';
  const mode = modes.find((name) => name === text);
  if (!mode) throw new UsageError(`sslmode=${text} is not one of ${modes.join(', ')}`);
  return mode;
}

/**
 * `require` and below encrypt, but do not check the certificate. `require` with a root certificate is `verify-ca`, as
 * in libpq. https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
 */
function tlsOf(mode: SslMode, param: (name: string) => string | undefined): ConnectionOptions | false {
  if (mode === 'disable') return false;
  const given = param('sslrootcert') ?? process.env['PGSSLROOTCERT'];
  const root = given === 'system' ? undefined : given;
  const verify = mode === 'verify-full' || mode === 'verify-ca' || (mode === 'require' && root !== undefined);
  if (mode === 'verify-ca' && !root)
    throw new UsageError(
      'sslmode=verify-ca needs sslrootcert=/path/to/ca.pem: anybody gets a certificate of a public authority. ' +
        'With a public one use verify-full',
    );
  const key = param('sslkey') ?? process.env['PGSSLKEY'];
  const cert = param('sslcert') ?? process.env['PGSSLCERT'];
  return {
    rejectUnauthorized: verify,
    ...(verify && root ? { ca: read('sslrootcert', root) } : {}),
    // `verify-ca` checks who signed the certificate, not the host name in it.
    ...(verify && mode !== 'verify-full' ? { checkServerIdentity: () => undefined } : {}),
    ...(cert ? { cert: read('sslcert', cert) } : {}),
    ...(key ? { key: read('sslkey', key) } : {}),
  };
}

function read(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`${name} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** graphile-worker puts its schema into the names of prepared statements, and Postgres cuts these at 63 bytes. */
export const longestSchema = 40;
