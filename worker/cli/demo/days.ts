import type { Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';

/** Sixty invented days of accounts, for people who have not collected any yet. */

const sql = loadStatements(import.meta.dirname, 'days.sql', [
  'invent_account',
  'invent_posts',
  'make_partitions',
  'invent_points',
]);

const days = 60;
const titles = ['Launch', 'Behind the scenes', 'Three mistakes', 'Q&A', 'Before and after', 'A day at work'];

type Account = { platform: string; external_id: string; name: string };
type Post = { id: number; age: number };

/**
 * Inserts readings as a platform would have given them, one a night, up to last night. The same for the same account,
 * so a repeat changes nothing.
 * @returns the id of the row of analytics_accounts
 */
export async function inventDays(db: Db, account: Account): Promise<number> {
  const [{ id }] = (await query<{ id: number }>(db, sql.invent_account, account)) as [{ id: number }];
  const random = randomFrom(account.external_id);
  const size = 400 + Math.floor(random() * 4_000);
  const posts = await query<Post>(db, sql.invent_posts, {
    account_id: id,
    posts: JSON.stringify(
      Array.from({ length: 24 }, (_, n) => ({
        external_id: `${account.external_id}-${n + 1}`,
        title: `${titles[n % titles.length]!} ${Math.floor(n / titles.length) + 1}`,
        age: 2 + Math.floor(n * 3.4),
        hour: [9, 12, 18, 18, 20][n % 5]!,
      })),
    ),
  });
  const points = [...levels(size, random), ...posts.flatMap((post, n) => counters(post, n, size, random))];
  await query(db, sql.make_partitions);
  await query(db, sql.invent_points, { account_id: id, points: JSON.stringify(points) });
  return id;
}

/** `nights` ago it was read. */
type Point = { post_id: number; metric: string; nights: number; value: number };

function levels(size: number, random: () => number): Point[] {
  let followers = size * 12;
  return Array.from({ length: days }, (_, day) => {
    followers += Math.round(size * (0.01 + 0.01 * random()));
    return { post_id: 0, metric: 'followers', nights: days - day, value: followers };
  });
}

/** Most views come in the first days. On one day of the account everything was seen four times as often. */
function counters({ id, age }: Post, n: number, size: number, random: () => number): Point[] {
  const sum = { views: 0, likes: 0, comments: 0, shares: 0 };
  const liked = 0.03 + 0.03 * random() + (n % 5 === 2 ? 0.02 : 0);
  return Array.from({ length: Math.min(age, days) }, (_, day) => Math.min(age, days) - day).flatMap((nights) => {
    const since = age - nights;
    const weekend = new Date(Date.now() - nights * 86_400_000).getUTCDay() % 6 === 0 ? 1.35 : 1;
    const views = Math.round(
      size * (Math.exp(-since / 3) + 0.25) * weekend * (0.85 + 0.3 * random()) * (nights === 9 ? 4 : 1),
    );
    sum.views += views;
    sum.likes += Math.round(views * liked * (0.9 + 0.2 * random()));
    sum.comments += Math.round(views * 0.004 * random());
    sum.shares += Math.round(views * 0.006 * random());
    return Object.entries(sum).map(([metric, value]) => ({ post_id: id, metric, nights, value }));
  });
}

/** mulberry32, from the bytes of a name. */
function randomFrom(name: string): () => number {
  let state = Buffer.from(name).reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
