import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';

/** The rows of push_tokens. */

const sql = loadStatements(import.meta.dirname, 'devices.sql', ['devices_of', 'mark_invalid']);

/** The valid tokens of users. Users who have none are left out. */
export async function devicesOf(db: Queryable, user_ids: string[]): Promise<Map<string, string[]>> {
  const rows = await query<{ user_id: string; token: string }>(db, sql.devices_of, { user_ids });
  const found = new Map<string, string[]>();
  for (const { user_id, token } of rows) found.set(user_id, [...(found.get(user_id) ?? []), token]);
  return found;
}

/** FCM says that they are none. */
export async function markInvalid(db: Queryable, tokens: string[]): Promise<void> {
  await query(db, sql.mark_invalid, { tokens });
}
