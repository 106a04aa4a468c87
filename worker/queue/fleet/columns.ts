import { transaction, type Db } from '../../base/db/db.ts';
import { bind, bindEach, loadStatements, query } from '../../base/db/sql.ts';
import { codeOf } from '../../base/errors.ts';
import { isSealed, type Keyring } from '../../base/seal.ts';

const sql = loadStatements(import.meta.dirname, 'columns.sql', [
  'to_seal',
  'put_sealed',
  'put_sealed_json',
  'seals_of',
]);

/** Columns that are sealed, outside of the payloads of jobs. Those of one field may be copied to each other. */
const sealedColumns = [
  { table: 'webhook_endpoints', key: 'id', column: 'secret', field: 'secret' },
  { table: 'webhook_endpoints', key: 'id', column: 'previous_secret', field: 'secret' },
  { table: 'push_tokens', key: 'token_hash', column: 'token', field: 'token' },
  { table: 'notifications', key: 'id', column: 'payload', field: 'payload', isJson: true },
  { table: 'social_accounts', key: 'id', column: 'access_token', field: 'access_token' },
  { table: 'social_accounts', key: 'id', column: 'refresh_token', field: 'refresh_token' },
  { table: 'social_posts', key: 'id', column: 'upload_url', field: 'upload_url' },
];

type Stored = { id: string; value: unknown };

/**
 * Seals what is in the clear; with `all`, also what another key of the ring has sealed.
 * @param unopened counts the values that do not open, by their error code
 * @returns how many values it changed
 */
export async function sealColumns(
  db: Db,
  keyring: Keyring,
  all = false,
  unopened: Record<string, number> = {},
): Promise<number> {
  const prefix = all ? `sealed:${keyring.active}:` : 'sealed:';
  let changed = 0;
  for (const { table, key, column, field, isJson } of sealedColumns) {
    const statements = bindEach(sql, { table, key, column });
    const put = isJson ? statements.put_sealed_json : statements.put_sealed;
    const sealedOf = ({ id, value }: Stored): Stored[] => {
      const place = { table, row: id, field };
      try {
        return [{ id, value: keyring.seal(isSealed(value) ? keyring.open(value, place) : value, place) }];
      } catch (error) {
        const code = codeOf(error) ?? 'unknown';
        unopened[code] = (unopened[code] ?? 0) + 1;
        return [];
      }
    };
    for (let after: string | undefined = ''; after !== undefined;)
      after = await transaction(db, async (tx) => {
        const found: Stored[] = await query<Stored>(tx, statements.to_seal, { prefix, after });
        const sealed = found.flatMap(sealedOf);
        if (sealed.length > 0) await query(tx, put, { sealed: JSON.stringify(sealed) });
        changed += sealed.length;
        return found.at(-1)?.id;
      });
  }
  return changed;
}

/** Adds how many values are under each key to `kids`. @returns how many are in the clear */
export async function countColumns(db: Db, kids: Record<string, number>): Promise<number> {
  let clear = 0;
  for (const { table, key, column } of sealedColumns)
    for (const { kid, rows } of await query<{ kid: string; rows: number }>(
      db,
      bind(sql.seals_of, { table, key, column }),
    )) {
      if (kid === '') clear += rows;
      else kids[kid] = (kids[kid] ?? 0) + rows;
    }
  return clear;
}
