import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Queue } from '../../worker/queue/bullmq/queue.ts';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { addAccount, sealEnv } from '../support/social-account.ts';
import { startInsights, type Insights } from '../support/analytics/insights.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// What four platforms say of accounts and posts becomes points. The far side is a server on loopback that answers as
// the platforms' documents say, and refuses requests that they would refuse.

let rig: Rig;
let insights: Insights;
before(async () => {
  [rig, insights] = await Promise.all([createRig(), startInsights()]);
  await rig.worker(await loadRegistry(), { QUEUES: 'analytics', ...sealEnv, ...insights.env });
});
after(async () => {
  await rig.close();
  await insights.close();
});

const job = async (payload: object, status = 'completed'): Promise<Row> =>
  reads(rig.db, await add(rig.db, 'analytics', 'collect', { payload, max_retries: 0 }), { status }, 120_000);

const pointsOf = async ({ result }: Row) =>
  (
    await rig.db.query<{ post: string; metric: string; value: number | null; cumulative: boolean }>(
      `select coalesce(p.external_id, '') as post, m.metric, m.value, m.cumulative
         from metric_points m left join analytics_posts p on p.id = m.post_id
        where m.account_id = $1 order by 1, 2`,
      [result.account],
    )
  ).rows.map(({ post, metric, value, cumulative }) => `${post} ${metric} ${value}${cumulative ? '' : ' a day'}`);

test('the JSON of a BullMQ producer is collected as it stands, and its token is in no table', async () => {
  process.env['DATABASE_URL'] = rig.db.url;
  const queue = new Queue('analytics-aggregation', { connection: {} });
  const added = await queue.add('collect-metrics', {
    type: 'collect',
    platform: 'tiktok',
    accessToken: 'token',
    postId: '7123456789012345678',
  });
  const row = await reads(rig.db, Number(added.id), { status: 'completed' }, 120_000);
  await queue.close();
  assert.deepEqual(await pointsOf(row), [
    ' followers 1200',
    ' posts 3',
    '7123456789012345678 comments 4',
    '7123456789012345678 likes 50',
    '7123456789012345678 shares null',
    '7123456789012345678 views 1000',
  ]);
  assert.deepEqual(row.result, { account: row.result.account, posts: 1, points: 6, unknown: 1 });
});

const expected: Record<string, string[]> = {
  youtube: [
    ' followers null',
    ' posts 2',
    'v1 comments null',
    'v1 likes 20',
    'v1 views 900',
    'v2 comments 1',
    'v2 likes 2',
    'v2 views 3',
  ],
  instagram: [
    ' followers 77',
    ' posts 2',
    'm1 comments 2',
    'm1 likes 10',
    'm1 reach 90',
    'm1 saves 3',
    'm1 shares 1',
    'm1 views 100',
    'm2 comments 2',
    'm2 likes 10',
    'm2 reach null',
    'm2 saves null',
    'm2 shares 1',
    'm2 views null',
  ],
  facebook: [
    ' followers 55',
    'p1 clicks 8',
    'p1 comments 6',
    'p1 likes 30',
    'p1 reach 300',
    'p1 shares 9',
    'p1 views null',
  ],
};
for (const platform of ['youtube', 'instagram', 'facebook'] as const)
  test(`${platform}: all pages of posts; what it does not say is null`, async () => {
    const row = await job({ platform, accessToken: 'token' });
    assert.deepEqual(await pointsOf(row), expected[platform]);
  });

test('tiktok: all pages, twenty at a time; a repeat makes new points and no new posts', async () => {
  for (const _ of [1, 2]) {
    const row = await job({ platform: 'tiktok', accessToken: 'long' });
    assert.equal(row.result.posts, 45);
  }
  const { rows } = await rig.db.query(
    `select count(*) from analytics_posts p join analytics_accounts a on a.id = p.account_id
      where a.external_id = 'open-long'`,
  );
  assert.deepEqual(rows, [{ count: 45 }]);
});

test('the schedule adds a job for each connected account, whose sealed token is used', async () => {
  const id = await addAccount(rig.db, 'youtube', { external_id: 'channel', access_token: 'token' });
  const { result } = await job({ platform: 'youtube' });
  assert.deepEqual(result, { jobs: 1 });
  const { rows } = await rig.db.query<{ id: number }>(
    `select id from analytics_jobs where payload = jsonb_build_object('accountId', $1::bigint)`,
    [id],
  );
  await reads(rig.db, rows[0]!.id, { status: 'completed' }, 120_000);
});

test('faults have names, and leave no points', async () => {
  const points = (await rig.db.query(`select count(*) from metric_points`)).rows;
  const cases: [payload: object, code: string][] = [
    [{ platform: 'tiktok', accessToken: 'expired' }, 'analytics_token_refused'],
    [{ platform: 'youtube', accessToken: 'expired' }, 'analytics_token_refused'],
    [{ platform: 'instagram', accessToken: 'expired' }, 'analytics_token_refused'],
    [{ platform: 'tiktok', accessToken: 'token', postId: '404' }, 'analytics_post_not_found'],
    [{ platform: 'tiktok', postId: '1' }, 'invalid_payload'],
    [{ accessToken: 'token' }, 'invalid_payload'],
    [{ platform: 'myspace', accessToken: 'token' }, 'invalid_payload'],
    [{ accountId: 4_711 }, 'social_account_not_found'],
    [{ platform: 'facebook', accessToken: 'down' }, 'social_unavailable'],
  ];
  for (const [payload, code] of cases)
    assert.equal((await job(payload, 'failed')).error_code, code, JSON.stringify(payload));
  assert.deepEqual((await rig.db.query(`select count(*) from metric_points`)).rows, points);
  const id = await add(rig.db, 'analytics', 'collect', { payload: { platform: 'tiktok', accessToken: 'limited' } });
  const waits = await reads(rig.db, id, { status: 'pending', attempt: 1, retry_count: 0 }, 60_000);
  assert.ok(waits.run_at > new Date());
});

test('a limit is written down, and holds up all jobs of the account', async () => {
  const ask = async (accountId: number) => {
    const row = await add(rig.db, 'analytics', 'collect', { payload: { accountId } });
    return reads(rig.db, row, { status: 'pending', attempt: 1, retry_count: 0 });
  };
  await rig.db.query(`delete from social_limits`);
  const id = await addAccount(rig.db, 'tiktok', { external_id: 'busy', access_token: 'limited' });
  await ask(id);
  const { rows } = await rig.db.query(`select key from social_limits`);
  assert.deepEqual(rows, [{ key: `account ${id}` }]);
  await rig.db.query(`update social_limits set until = until + interval '1 h'`);
  const later = await ask(id);
  assert.ok(later.run_at > new Date(Date.now() + 3_600_000));
});
