import type { App } from '../../../app.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { isOf, PermanentError } from '../../../base/errors.ts';
import { isSealed, open } from '../../../base/seal.ts';

/** The rows of push_tokens. */

const sql = loadStatements(import.meta.dirname, 'devices.sql', ['devices_of', 'mark_invalid']);

/** The valid tokens of users, in the clear. Users who have none are left out. */
export async function devicesOf(app: Pick<App, 'db' | 'config'>, user_ids: string[]): Promise<Map<string, string[]>> {
  const rows = await query<Device>(app.db, sql.devices_of, { user_ids });
  const found = new Map<string, string[]>();
  for (const device of rows)
    for (const token of tokenOf(device, app)) found.set(device.user_id, [...(found.get(device.user_id) ?? []), token]);
  return found;
}

type Device = { user_id: string; token_hash: string; token: string };

/** None if it does not open: the user's other devices are told. @throws RetryableError `seal_key_unknown` */
function tokenOf({ token_hash, token }: Device, { config }: Pick<App, 'config'>): string[] {
  try {
    const place = { table: 'push_tokens', row: token_hash, field: 'token' };
    return [isSealed(token) ? (open(token, place, config.keyring) as string) : token];
  } catch (error) {
    if (isOf(error, PermanentError)) return [];
    throw error;
  }
}

/** FCM says that they are none. */
export async function markInvalid(db: Queryable, tokens: string[]): Promise<void> {
  await query(db, sql.mark_invalid, { tokens });
}
