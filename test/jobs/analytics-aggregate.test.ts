import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import aggregate from '../../worker/jobs/analytics/aggregate.ts';
import { daysOf, plus, weeksOf, type Daily, type Point, type Weekly } from '../support/analytics/spreadsheet.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Days and weeks of points. What a spreadsheet says, and what SQL says that was written in another way, is what
// analytics.aggregate writes: in whatever order the points come, and however often it runs.

let rig: Rig;
before(async () => {
  rig = await createRig();
});
after(() => rig.close());

/** Runs the kind as a worker does, without a job's row: its effects need none. */
async function run(payload: object): Promise<{ accounts: number; days: number }> {
  const given = aggregate.payload.parse(payload);
  const context = { payload: given, app: { db: rig.db }, signal: AbortSignal.timeout(60_000), progress() {} };
  return (await aggregate.run(context as never)) as { accounts: number; days: number };
}

async function newAccount(time_zone: string, published: (Date | null)[]): Promise<{ id: number; posts: number[] }> {
  const account = await rig.db.query<{ id: number }>(
    `insert into analytics_accounts (platform, external_id, time_zone) values ('tiktok', gen_random_uuid(), $1)
     returning id`,
    [time_zone],
  );
  const { id } = account.rows[0]!;
  const posts: number[] = [];
  for (const at of published) {
    const post = await rig.db.query<{ id: number }>(
      `insert into analytics_posts (account_id, external_id, published_at) values ($1, gen_random_uuid(), $2)
       returning id`,
      [id, at],
    );
    posts.push(post.rows[0]!.id);
  }
  return { id, posts };
}

async function store(points: Point[]): Promise<void> {
  await rig.db.query(
    `insert into metric_points (account_id, post_id, metric, observed_at, value, cumulative)
     select * from jsonb_to_recordset($1) as p (account_id bigint, post_id bigint, metric text,
                                                observed_at timestamptz, value bigint, cumulative boolean)
         on conflict (account_id, post_id, metric, observed_at) do update set value = excluded.value`,
    [JSON.stringify(points)],
  );
}

const daily = async (account: number) =>
  (
    await rig.db.query<Daily>(
      `select post_id, metric, day::text, value, decrease, posts, missing from metric_daily
        where account_id = $1 order by post_id, metric collate "C", day`,
      [account],
    )
  ).rows;
const weekly = async (account: number) =>
  (
    await rig.db.query<Weekly>(
      `select post_id, metric, week::text, value, days from metric_weekly
        where account_id = $1 order by post_id, metric collate "C", week`,
      [account],
    )
  ).rows;

/** The same growth by another way: for each day a subquery for its last reading, and sums of differences. */
const independent = async (account: number, until: string) =>
  (
    await rig.db.query<{ post_id: number; metric: string; day: string; value: number }>(
      `with noons as (
         select a.id, a.time_zone, p.post_id, p.metric, n as day,
                (n + time '12:00') at time zone a.time_zone as opens,
                (n + 1 + time '12:00') at time zone a.time_zone as ends,
                (n + 1 + time '00:00') at time zone a.time_zone as midnight
           from analytics_accounts a
           join (select distinct account_id, post_id, metric, min(observed_at) over () as first from metric_points
                  where cumulative and account_id = $1 and metric in ('views', 'likes')) p on p.account_id = a.id
          cross join lateral (select generate_series(first::date - 2, $2::date, '1 day')::date as n) c
       ), closes as (
         select n.*, (select r.value from metric_points r
                       where r.account_id = n.id and r.post_id = n.post_id and r.metric = n.metric
                         and r.cumulative and r.value is not null
                         and (r.observed_at at time zone n.time_zone) >= n.day + time '12:00'
                         and (r.observed_at at time zone n.time_zone) < n.day + 1 + time '12:00'
                       order by greatest(r.observed_at - n.midnight, n.midnight - r.observed_at), r.observed_at
                       limit 1) as value
           from noons n
       )
       select t.post_id, t.metric, t.day::text,
              case when t.value < y.value then 0 else t.value - y.value end as value
         from closes t
         join closes y on y.post_id = t.post_id and y.metric = t.metric and y.day = t.day - 1
        where t.value is not null and y.value is not null
        order by 1, t.metric collate "C", 3`,
      [account, until],
    )
  ).rows;

// Clocks go forward and back; half hours; a zone that skipped a day; midnights that do not exist.
const zones: [zone: string, around: string][] = [
  ['Europe/Berlin', '2026-03-29'],
  ['Europe/Berlin', '2026-10-25'],
  ['America/New_York', '2026-03-08'],
  ['America/New_York', '2026-11-01'],
  ['Australia/Lord_Howe', '2026-04-05'],
  ['Asia/Kathmandu', '2026-06-10'],
  ['Africa/Cairo', '2026-04-24'],
  ['America/Santiago', '2026-09-06'],
  ['Pacific/Chatham', '2026-09-27'],
  ['UTC', '2026-06-10'],
];
const span = 16;

const reading = fc.record({
  post: fc.integer({ min: 0, max: 2 }),
  metric: fc.constantFrom('views', 'views', 'likes', 'followers', 'reach', 'saves'),
  /** In quarters of an hour, so that readings lie at noon, at midnight, and in the hour that there is twice. */
  quarter: fc.integer({ min: 0, max: span * 96 }),
  value: fc.option(fc.integer({ min: 0, max: 1_000 }), { freq: 12 }),
  cumulative: fc.boolean(),
  /** After which of the runs it comes in. */
  late: fc.integer({ min: 0, max: 1 }),
});

test('days and weeks are what a spreadsheet says, whenever the points come in', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...zones),
      fc.array(reading, { minLength: 1, maxLength: 120 }),
      fc.array(fc.option(fc.integer({ min: 0, max: span * 96 })), { minLength: 2, maxLength: 2 }),
      async ([time_zone, around], given, published) => {
        const start = Date.parse(around) - (span / 2) * 86_400_000;
        const at = (quarter: number) => new Date(start + quarter * 900_000);
        const since = published.map((quarter) => (quarter === null ? null : at(quarter)));
        const { id, posts } = await newAccount(time_zone, since);
        const points = new Map<string, Point & { late: number }>();
        for (const { post, metric, quarter, value, cumulative, late } of given) {
          const whole = cumulative || metric === 'followers';
          const observed_at = at(whole ? quarter : quarter - (quarter % 96));
          const point = { account_id: id, post_id: [0, ...posts][post]!, metric, observed_at, value };
          points.set(JSON.stringify([post, metric, observed_at]), { ...point, cumulative: whole, late });
        }
        const until = plus(around, span / 2 + 1);
        const from = plus(around, -span / 2 - 2);
        for (const round of [0, 1]) {
          await store([...points.values()].filter(({ late }) => late === round));
          await run({ account: id, from, until });
        }
        const sheet = {
          time_zone,
          published: new Map(posts.map((post, n) => [post, since[n]!])),
          points: [...points.values()],
          until,
        };
        const expected = daysOf(sheet);
        assert.deepEqual(await daily(id), expected);
        assert.deepEqual(await weekly(id), weeksOf(expected));
        // Again; and day by day, from each day anew: nothing is written.
        assert.equal((await run({ account: id, from, until })).days, 0);
        assert.equal((await run({ account: id, from: plus(from, 7), until: plus(from, 9) })).days, 0);
        assert.deepEqual(await daily(id), expected);
        assert.deepEqual(await weekly(id), weeksOf(expected));
        // Where both days were closed, and the platform gave no amount.
        const grown = await independent(id, until);
        for (const { post_id, metric, day, value } of grown) {
          const amounts = [...points.values()].filter(
            (point) =>
              !point.cumulative &&
              point.post_id === post_id &&
              point.metric === metric &&
              point.value !== null &&
              point.observed_at.toISOString().startsWith(day),
          );
          const row = expected.find((each) => each.post_id === post_id && each.metric === metric && each.day === day);
          if (amounts.length === 0) assert.equal(row?.value, value, `${metric} of ${day}`);
        }
      },
    ),
    { numRuns: 25 },
  );
});
