import assert from 'node:assert/strict';
import { after, before, beforeEach, suite, test } from 'node:test';
import { PermanentError } from '../../worker/base/errors.ts';
import { cancelJobs } from '../../worker/queue/client/operate.ts';
import { eventually } from '../support/eventually.ts';
import { add, reads } from '../support/jobs.ts';
import { createRig, type Rig } from '../support/worker.ts';

// Events: rows of event_subscriptions make jobs notification.webhook, in the transaction that ends a job. No worker of
// this test serves the queue notification, so the events wait.

let rig: Rig;
const subscribe = (columns: { queue?: string; kind?: string; status?: string; endpoint_id?: string } = {}) => {
  const { queue = null, kind = null, status = null, endpoint_id = 'shop' } = columns;
  return rig.db.query(
    `insert into event_subscriptions (queue, kind, status, endpoint_id) values ($1, $2, $3, $4) returning id`,
    [queue, kind, status, endpoint_id],
  );
};
type Event = { id: number; payload: any; priority: number };
const events = async () =>
  (
    await rig.db.query<Event>(
      `select id, payload, priority from notification_jobs where dedupe_key like 'rowmill:event:%' order by id`,
    )
  ).rows;
const told = async () =>
  (await events()).map(({ payload: { webhook } }) => `${webhook.endpoint} ${webhook.event} ${webhook.body.data.id}`);

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 20, archive_after = '1 hour'`);
  const echo = async ({ payload }: { payload: unknown }) => payload;
  await rig.worker(
    {
      'media.echo': echo,
      'media.fails': async () => {
        throw new PermanentError('no_good', 'secret words');
      },
      'media.commits': async ({ commit }) => commit(async () => {}),
      'analytics.echo': echo,
    },
    { QUEUES: 'media,analytics' },
  );
});
beforeEach(() =>
  rig.db.query(`delete from jobs; delete from webhook_endpoints;
                insert into webhook_endpoints (id, url)
                values ('shop', 'https://a.example'), ('crm', 'https://b.example')`),
);
after(() => rig.close());

test('each way in which a job ends is told once, without its payload and its error', async () => {
  await subscribe();
  const ends: [string, string, string][] = [
    ['echo', 'completed', 'job.completed'],
    ['commits', 'completed', 'job.completed'],
    ['fails', 'failed', 'job.failed'],
  ];
  const expected: string[] = [];
  for (const [kind, status, event] of ends) {
    const id = await add(rig.db, 'media', kind, { payload: { canary: 'secret' } });
    await reads(rig.db, id, { status });
    expected.push(`shop ${event} ${id}`);
  }
  const later = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 9e6) });
  await cancelJobs(rig.db, [later]);
  const late = await add(rig.db, 'media', 'echo', { expires_at: new Date(Date.now() - 1_000) });
  await reads(rig.db, late, { status: 'cancelled' });
  const byHand = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 9e6) });
  await rig.db.query(`update media_jobs set status = 'failed', error_code = 'by_hand' where id = $1`, [byHand]);
  expected.push(`shop job.cancelled ${later}`, `shop job.cancelled ${late}`, `shop job.failed ${byHand}`);
  assert.deepEqual(await told(), expected);

  const all = await events();
  assert.doesNotMatch(JSON.stringify(all), /secret/);
  const { type, timestamp, data } = all[2]!.payload.webhook.body;
  assert.deepEqual(
    [type, data.queue, data.kind, data.error_code, data.attempt],
    ['job.failed', 'media', 'fails', 'no_good', 1],
  );
  assert.equal(timestamp, data.completed_at);
  assert.equal(all[0]!.priority, 10);
});

test('an end that is rolled back is told nobody; one that happens again is told again', async () => {
  await subscribe({ status: 'cancelled' });
  const id = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 9e6) });
  const tx = await rig.db.connect();
  await tx.query('begin');
  await cancelJobs(tx, [id]);
  await tx.query('rollback');
  tx.release();
  assert.deepEqual(await told(), []);
  for (let times = 0; times < 2; times++) {
    await cancelJobs(rig.db, [id]);
    await rig.db.query(`update jobs set status = 'pending' where id = $1`, [id]);
  }
  assert.deepEqual(await told(), [`shop job.cancelled ${id}`, `shop job.cancelled ${id}`]);
});

test('only what a row names, and an endpoint hears of it once however many rows match', async () => {
  await subscribe({ queue: 'media', kind: 'fails', status: 'failed', endpoint_id: 'crm' });
  await subscribe({ queue: 'media' });
  await subscribe({ queue: 'media', kind: 'fails' });
  await rig.db.query(`insert into event_subscriptions (enabled, endpoint_id) values (false, 'crm')`);
  const other = await add(rig.db, 'analytics', 'echo');
  await reads(rig.db, other, { status: 'completed' });
  const failed = await add(rig.db, 'media', 'fails');
  await reads(rig.db, failed, { status: 'failed' });
  assert.deepEqual((await told()).toSorted(), [`crm job.failed ${failed}`, `shop job.failed ${failed}`]);
});

suite('the loop guard', () => {
  test('the ends of events and of alerts are no events, also for a subscription to everything', async () => {
    await subscribe();
    const id = await add(rig.db, 'media', 'echo');
    await reads(rig.db, id, { status: 'completed' });
    await add(rig.db, 'notification', 'slack', { dedupe_key: 'rowmill:alert:1' });
    for (const status of ['failed', 'pending', 'cancelled'])
      await rig.db.query(`update notification_jobs set status = $1`, [status]);
    assert.deepEqual(await told(), [`shop job.completed ${id}`]);
  });

  test('other notifications are events', async () => {
    await subscribe({ queue: 'notification' });
    const id = await add(rig.db, 'notification', 'webhook', { payload: { webhook: 'shop' } });
    await cancelJobs(rig.db, [id]);
    assert.deepEqual(await told(), [`shop job.cancelled ${id}`]);
  });
});

test('a disabled endpoint gets no jobs that could only fail', async () => {
  await subscribe();
  await rig.db.query(`update webhook_endpoints set disabled_at = now() where id = 'shop'`);
  const id = await add(rig.db, 'media', 'echo');
  await reads(rig.db, id, { status: 'completed' });
  assert.deepEqual(await told(), []);
});

test('a bulk load with a subscription to everything: one event for each job', async () => {
  await subscribe();
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into analytics_jobs (kind) select 'echo' from generate_series(1, 500) returning id`,
  );
  await eventually(async () => {
    const { rows: left } = await rig.db.query(`select from analytics_jobs where status <> 'completed' limit 1`);
    assert.equal(left.length, 0);
  }, 120_000);
  const heard = (await events()).map(({ payload }) => payload.webhook.body.data.id as number);
  assert.deepEqual(
    heard.toSorted((a, b) => a - b),
    rows.map(({ id }) => id).toSorted((a, b) => a - b),
  );
});

suite('without subscriptions nothing is paid', () => {
  const listening = async () => (await rig.db.query(`select from listeners where until = 'infinity'`)).rows.length;

  test('the row in listeners is there while a row is enabled, whatever removes the last', async () => {
    assert.equal(await listening(), 0);
    await subscribe();
    await subscribe({ endpoint_id: 'crm' });
    assert.equal(await listening(), 1);
    await rig.db.query(`delete from webhook_endpoints where id = 'shop'`);
    assert.equal(await listening(), 1);
    await rig.db.query(`update event_subscriptions set enabled = false`);
    assert.equal(await listening(), 0);
    await rig.db.query(`update event_subscriptions set enabled = true`);
    assert.equal(await listening(), 1);
    await rig.db.query(`truncate webhook_endpoints cascade`);
    assert.equal(await listening(), 0);
  });

  test('one row goes while another comes', async () => {
    await subscribe();
    const [one, two] = [await rig.db.connect(), await rig.db.connect()];
    await one.query('begin');
    await one.query(`insert into event_subscriptions (endpoint_id) values ('crm')`);
    const gone = two.query(`delete from event_subscriptions where endpoint_id = 'shop'`);
    await one.query('commit');
    await gone;
    one.release();
    two.release();
    assert.equal(await listening(), 1);
  });
});
