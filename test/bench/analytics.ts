import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createPool, type Db } from '../../worker/base/db/db.ts';
import aggregate from '../../worker/jobs/analytics/aggregate.ts';
import anomalies from '../../worker/jobs/analytics/anomalies.ts';
import { silent } from '../support/log.ts';
import type { Bench } from './measure.ts';
import { atLeast, atMost, information, type Result } from './result.ts';
import type { Database } from './server.ts';

const posts = 200;
const days = 60;
const metrics = ['views', 'likes', 'comments', 'shares'];
/** For all of it: a night is a sixtieth. */
const budgetSeconds = 1_800;

/**
 * A thousand accounts with 200 posts each and 60 days of four counters: 48 million readings, if `rows` is a million.
 * Readings a second into metric_points, beside COPY of the same rows into a bare table; then days and weeks of all of
 * them, of one night, and the days that stand out.
 */
export async function analytics({ server, rows, notes }: Bench): Promise<Result[]> {
  const accounts = Math.max(1, Math.floor(rows / 1_000));
  const db = await server.create('rowmill');
  await db.query('update schedules set enabled = false');
  await db.query(`select make_metric_partitions(now() - interval '62 days', now())`);
  await db.query(
    `with a as (
       insert into analytics_accounts (platform, external_id, final_days, stale_from)
       select 'tiktok', n, 0, current_date - 62 from generate_series(1, $1::int) n returning id
     )
     insert into analytics_posts (account_id, external_id) select id, p from a, generate_series(1, $2::int) p`,
    [accounts, posts],
  );
  const readings = accounts * posts * days * metrics.length;
  console.error(`  ${readings.toLocaleString('en')} readings of ${accounts} accounts`);
  const folder = join(server.dir, 'analytics');
  await mkdir(folder);
  // The server writes and reads the file, as a user of its own.
  await chmod(folder, 0o777);
  const file = join(folder, 'readings');
  const bare = await copyBare(db, file);
  const stored = await timed(() => db.query(`copy metric_points from '${file}'`));
  await db.query('vacuum (analyze)');
  const pool = createPool(db.url, { max: 2, log: silent });
  const all = await timed(() => run(pool, aggregate, {}));
  const night = await timed(() => run(pool, aggregate, {}));
  const found = await timed(() => run(pool, anomalies, { days: 1 }));
  await pool.end();
  await check(db, readings, accounts);
  notes.push(
    `analytics: ${readings} readings stored in ${stored.toFixed(1)} s, all days made in ${all.toFixed(1)} s, ` +
      `one night's three days again in ${night.toFixed(1)} s, the last day judged in ${found.toFixed(1)} s`,
  );
  await db.drop();
  const rate = (seconds: number) => Math.round(readings / seconds);
  const figures = (ours: number, unit = 'readings/s') => ({ ours, anchor: rate(bare), unit });
  return [
    atLeast(0.2, 'analytics, readings into metric_points, against COPY into a bare table', figures(rate(stored))),
    information('analytics, readings made into days and weeks, against the same COPY', figures(rate(all))),
    atMost(1, 'analytics, all of it, against a budget', {
      ours: stored + all + found,
      anchor: (budgetSeconds * accounts) / 1_000,
      unit: 's',
    }),
  ];
}

/** Readings at 01:00, in the order in which a collector meets them: night by night. @returns seconds of the COPY */
async function copyBare(db: Database, file: string): Promise<number> {
  await db.query(
    `copy (select p.account_id, p.id, m.metric, date_trunc('day', now()) + interval '1 hour' - make_interval(days => d),
                  (100 + p.id % 50) * (61 - d) + m.n, true
             from generate_series(${days} - 1, 0, -1) d, analytics_posts p,
                  unnest($$ {${metrics.join(',')}} $$::text[]) with ordinality m (metric, n)) to '${file}'`,
  );
  await db.query(
    `create table bare (account_id bigint, post_id bigint, metric text, observed_at timestamptz, value bigint,
                        cumulative boolean)`,
  );
  const seconds = await timed(() => db.query(`copy bare from '${file}'`));
  await db.query('drop table bare');
  return seconds;
}

/** As a worker runs it, without the job's row. */
async function run(db: Db, kind: typeof aggregate | typeof anomalies, given: object): Promise<void> {
  const payload = kind.payload.parse(given);
  const context = { payload, app: { db }, signal: new AbortController().signal, progress() {} };
  await kind.run(context as never);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1_000;
}

/** Every reading but the first of each series is a day, and every account has the sum of its posts. */
async function check(db: Database, readings: number, accounts: number): Promise<void> {
  const { rows } = await db.query<{ known: number; sums: number }>(
    `select count(*) filter (where post_id <> 0 and value is not null) as known,
            count(*) filter (where post_id = 0 and posts = $1) as sums from metric_daily`,
    [posts],
  );
  const expected = { known: (readings / days) * (days - 1), sums: accounts * metrics.length * (days - 1) };
  if (rows[0]!.known !== expected.known || rows[0]!.sums !== expected.sums)
    throw new Error(`metric_daily has ${JSON.stringify(rows[0])}, and should have ${JSON.stringify(expected)}`);
}
