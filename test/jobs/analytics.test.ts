import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { plus } from '../support/analytics/spreadsheet.ts';
import { pureNoise } from '../support/analytics/series.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Points that a program inserted become days, and days that stand out, by jobs of a worker.

let rig: Rig;
before(async () => {
  rig = await createRig();
  await rig.worker(await loadRegistry(), { QUEUES: 'analytics,cleanup' });
});
after(() => rig.close());

const one = async <T>(text: string, values: unknown[] = []) => (await rig.db.query(text, values)).rows[0] as T;

async function job(queue: string, kind: string, payload: object, status = 'completed'): Promise<Row> {
  return reads(rig.db, await add(rig.db, queue, kind, { payload }), { status }, 120_000);
}

const newAccount = async (columns = `'tiktok'`) =>
  (
    await one<{ id: number }>(
      `insert into analytics_accounts (platform, external_id) values (${columns}, gen_random_uuid()) returning id`,
    )
  ).id;

/** Readings at 01:00 UTC of a counter that grows by `values`, so that the last closes the day before yesterday. */
async function grow(account: number, metric: string, values: number[], ago: number): Promise<void> {
  await rig.db.query(
    `with grown as (select n, v, sum(v) over (order by n) as total
                      from unnest($3::bigint[]) with ordinality as u (v, n))
     insert into metric_points (account_id, metric, observed_at, value, cumulative)
     select $1, $2, date_trunc('day', now(), 'UTC') + interval '1 hour'
                    - make_interval(days => $4::int + $5::int - n::int), total, true
       from grown`,
    [account, metric, values, values.length, ago],
  );
}

const dayAgo = async (days: number) =>
  (await one<{ day: string }>(`select ((now() at time zone 'UTC')::date - $1::int)::text as day`, [days])).day;

test('the day that stands out is written down once it is final, and goes when its figure is corrected', async () => {
  const account = await newAccount();
  const values = pureNoise(0, 70);
  const peak = 30 * Math.max(...values);
  // The last reading closes yesterday: what stands out five days ago is final, two days ago it is not.
  await grow(account, 'views', [1_000, ...values.slice(0, -5), peak, ...values.slice(-4, -2), peak, values.at(-1)!], 0);
  await rig.db.query(`update analytics_accounts set stale_from = current_date - 90 where id = $1`, [account]);
  const { result } = await job('analytics', 'aggregate', { account });
  assert.deepEqual(result, { accounts: 1, days: 71 });
  const { stale_from } = await one<{ stale_from: null }>(`select stale_from from analytics_accounts where id = $1`, [
    account,
  ]);
  assert.equal(stale_from, null);

  const found = async () =>
    (await rig.db.query(`select metric, day::text, value from anomalies where account_id = $1`, [account])).rows;
  for (const _ of [1, 2]) {
    const judged = await job('analytics', 'anomalies', { account });
    assert.deepEqual(judged.result, { accounts: 1, series: 1, judged: 7, anomalies: 1 });
    assert.deepEqual(await found(), [{ metric: 'views', day: await dayAgo(5), value: peak }]);
  }
  await rig.db.query(`update metric_daily set value = $2 where account_id = $1 and value = $3`, [
    account,
    values.at(-5),
    peak,
  ]);
  await job('analytics', 'anomalies', { account });
  assert.deepEqual(await found(), []);
});

test('a sum that lacks a tenth of its posts is not judged, and of followers the growth is', async () => {
  const account = await newAccount();
  const last = plus(await dayAgo(0), -4);
  await rig.db.query(
    `insert into metric_daily (account_id, metric, day, value, posts, missing)
     select $1, 'likes', $2::date - n, case n when 0 then 10 when 1 then 10 else 1000 end, 100 - 50 * (n = 0)::int,
            50 * (n = 0)::int
       from generate_series(0, 60) n`,
    [account, last],
  );
  await rig.db.query(
    `insert into metric_daily (account_id, metric, day, value)
     select $1, 'followers', $2::date - n, 100000 - 100 * n + case when n = 0 then 5000 else 0 end
       from generate_series(0, 60) n`,
    [account, last],
  );
  await job('analytics', 'anomalies', { account });
  const { rows } = await rig.db.query(
    `select metric, day::text, value, expected from anomalies where account_id = $1 order by metric`,
    [account],
  );
  assert.deepEqual(rows, [
    { metric: 'followers', day: last, value: 5_100, expected: 100 },
    { metric: 'likes', day: plus(last, -1), value: 10, expected: 1_000 },
  ]);
});

test('what cannot be asked for is refused by name', async () => {
  for (const kind of ['aggregate', 'anomalies']) {
    const gone = await job('analytics', kind, { account: 4_711 }, 'failed');
    assert.equal(gone.error_code, 'analytics_account_not_found');
    const backwards = await job('analytics', kind, { from: '2026-02-02', until: '2026-02-01' }, 'failed');
    assert.match(backwards.error, /until: is before from, 2026-02-02/);
    const noDay = await job('analytics', kind, { from: '2026-02-30' }, 'failed');
    assert.equal(noDay.error_code, 'invalid_payload');
  }
});

test('points of a month without a partition move into it, and old partitions are dropped', async () => {
  const account = await newAccount();
  await rig.db.query(
    `insert into metric_points (account_id, metric, observed_at, value, cumulative)
     select $1, 'views', t, 1, true from unnest(array['2019-05-31T23:59:59Z', '2019-06-01T00:00:00Z',
                                                      '2031-01-01T00:00:00Z']::timestamptz[]) t`,
    [account],
  );
  const made = await Promise.all(
    [1, 2, 3].map(() => one<{ made: number }>(`select make_metric_partitions('2019-05-20', '2019-06-01') as made`)),
  );
  assert.deepEqual(
    made.map((each) => each.made).toSorted((a, b) => a - b),
    [0, 0, 2],
  );
  const leaves = async () =>
    (
      await rig.db.query(
        `select m.tableoid::regclass::text as leaf, relrowsecurity as closed from metric_points m
           join pg_class c on c.oid = m.tableoid where account_id = $1 order by observed_at`,
        [account],
      )
    ).rows;
  assert.deepEqual(await leaves(), [
    { leaf: 'metric_points_2019_05', closed: true },
    { leaf: 'metric_points_2019_06', closed: true },
    { leaf: 'metric_points_other', closed: true },
  ]);

  const dry = await job('cleanup', 'metric_points', { dryRun: true });
  assert.equal(dry.result.remaining, true);
  assert.equal((await leaves()).length, 3);
  await job('cleanup', 'metric_points', {});
  assert.deepEqual(
    (await leaves()).map(({ leaf }) => leaf),
    ['metric_points_other'],
  );
  const left = await one<{ count: number }>(`select count(*) from rowmill_objects where object ~ 'metric_points_2019'`);
  assert.equal(left.count, 0);
});

test('with an account its figures go', async () => {
  const account = await newAccount();
  const post = await one<{ id: number }>(
    `insert into analytics_posts (account_id, external_id) values ($1, 'a') returning id`,
    [account],
  );
  await rig.db.query(
    `insert into metric_points (account_id, post_id, metric, observed_at, value, cumulative)
     select $1, p, 'views', now(), 5, true from unnest(array[0, $2]::bigint[]) p`,
    [account, post.id],
  );
  const points = async () =>
    (await one<{ count: number }>(`select count(*) from metric_points where account_id = $1`, [account])).count;
  await rig.db.query(`delete from analytics_posts where id = $1`, [post.id]);
  assert.equal(await points(), 1);
  await rig.db.query(`delete from analytics_accounts where id = $1`, [account]);
  assert.equal(await points(), 0);
});
