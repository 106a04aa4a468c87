import type { Db } from '../../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { Snooze } from '../../../base/errors.ts';
import type { Adapter } from '../../../providers/social/adapter.ts';
import { Limited } from '../../../providers/social/errors.ts';
import type { Platform } from '../../../providers/social/social.ts';

/** The rows of social_limits: what platforms said of when to come back, for the whole fleet; and daily quotas. */

const sql = loadStatements(import.meta.dirname, 'limits.sql', ['limit_of', 'put_limit', 'posts_of_day']);

/** Whose limits they are. `account_id` is null for a token that came with a job. */
export type Owner = { platform: Platform; account_id: number | null };

const keyOf = ({ platform, account_id }: Owner, scope: Limited['scope']) =>
  scope === 'app' ? `app ${platform}` : `account ${account_id ?? `of a job on ${platform}`}`;

/** @throws Snooze if the account, or its platform, is to be left alone */
export async function respectLimits(db: Db, owner: Owner): Promise<void> {
  const keys = [keyOf(owner, 'app'), keyOf(owner, 'account')];
  const [limit] = await query<{ reason: string; wait_ms: number }>(db, sql.limit_of, { keys });
  if (limit) throw new Snooze(limit.wait_ms, limit.reason, { bounded: false });
}

/** @throws Snooze if the account is to be left alone, or if `work` meets a limit, which is written down */
export async function withinLimits<T>(db: Db, owner: Owner, work: () => Promise<T>): Promise<T> {
  await respectLimits(db, owner);
  try {
    return await work();
  } catch (error) {
    throw error instanceof Limited ? await noteLimit(db, owner, error) : error;
  }
}

/** Writes a limit down. @returns the wait */
export async function noteLimit(db: Queryable, owner: Owner, { scope, wait, reason }: Limited): Promise<Snooze> {
  const [zone, wait_ms] = typeof wait === 'number' ? [null, wait] : [wait.nextDayIn, 0];
  const values = { key: keyOf(owner, scope), zone, wait_ms, reason: reason.slice(0, 500) };
  const [limit] = await query<{ wait_ms: number }>(db, sql.put_limit, values);
  return new Snooze(limit!.wait_ms, reason, { bounded: false });
}

/** @throws Snooze if the posts of the day are used up */
export async function respectQuota(
  db: Db,
  { platform, account_id }: Owner,
  post_id: number,
  { of, max, zone, type }: NonNullable<Adapter['quota']>,
): Promise<void> {
  if (of === 'account' && account_id === null) return;
  const values = {
    platform,
    account_id: of === 'account' ? account_id : null,
    zone: zone ?? null,
    type: type ?? null,
    post_id,
  };
  const [day] = await query<{ posts: number; wait_ms: number }>(db, sql.posts_of_day, values);
  if (day!.posts < max) return;
  const reason = `${platform} takes ${max} posts a day of one ${of}`;
  throw new Snooze(day!.wait_ms, reason, { bounded: false });
}
