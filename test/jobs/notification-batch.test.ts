import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { fcmError, startFcm, type FakeFcm } from '../support/fcm.ts';
import { add, reads, type Row } from '../support/jobs.ts';
import { spawnRowmill } from '../support/processes.ts';
import { createRig, type Rig } from '../support/worker.ts';

// notification.batch: one message to many users, on all their devices.

let rig: Rig;
let fcm: FakeFcm;

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
const send = (payload: object, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'notification', 'batch', { payload, ...columns });
/** Users `<name>-1`, `<name>-2`, and so on, each with one device of the same name. */
async function users(name: string, count: number): Promise<string[]> {
  await sql(
    `insert into push_tokens (token_hash, user_id, token)
     select encode(sha256(convert_to(u, 'UTF8')), 'hex'), u, u
       from generate_series(1, $2::integer) n, concat($1::text, '-', n) u`,
    [name, count],
  );
  return Array.from({ length: count }, (_, n) => `${name}-${n + 1}`);
}
/** How often each device of these users was told. */
function told(name: string): Map<string, number> {
  const times = new Map<string, number>();
  for (const { token } of fcm.taken) if (token.startsWith(`${name}-`)) times.set(token, (times.get(token) ?? 0) + 1);
  return times;
}
const statuses = async (message_id: string) =>
  Object.fromEntries(
    (
      await sql(
        `select d.status, count(*)::integer as count
           from notifications n join notification_deliveries d on d.notification_id = n.id
          where n.message_id = $1 group by d.status`,
        [message_id],
      )
    ).map(({ status, count }) => [status, count]),
  );
const unregistered = { status: 404, body: fcmError('NOT_FOUND', 'UNREGISTERED') };
const internal = { status: 500, body: fcmError('INTERNAL') };

before(async () => {
  [rig, fcm] = await Promise.all([createRig(), startFcm()]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
});
beforeEach(() => fcm.heal());
after(async () => {
  await rig.close();
  await fcm.close();
});

test(`10,000 users, as few as fit here: the worker is killed twice, and no user is told twice`, async (t) => {
  const count = Number(process.env['BATCH_USERS'] ?? 1_200);
  const dir = await mkdtemp(join(tmpdir(), 'batch-'));
  const userIds = await users('crowd', count);
  fcm.delay(20);
  const id = await send({ userIds, title: 'Group Message', body: 'New message in Tech Team', data: { groupId: 'g' } });
  const start = () =>
    spawnRowmill(rig.db.url, {
      ...fcm.env,
      DATA_DIR: dir,
      QUEUES: 'notification',
      FCM_RATE: '100000',
      SWEEP_INTERVAL: '100',
      WORKER_POLL_INTERVAL: '100',
    });
  try {
    for (const share of [0.2, 0.6]) {
      const worker = await start();
      await eventually(() => assert.ok(told('crowd').size > count * share), 60_000);
      worker.kill('SIGKILL');
      await once(worker, 'exit');
    }
    assert.equal((await sql(`select status from jobs where id = $1`, [id]))[0]!.status, 'processing');
    const last = await start();
    const { result, progress } = await reads(rig.db, id, { status: 'completed' }, 60_000);
    last.kill('SIGTERM');
    await once(last, 'exit');
    const times = told('crowd');
    assert.deepEqual(
      [...times].filter(([, n]) => n > 1),
      [],
    );
    const { successCount, failureCount, unknownCount } = result;
    assert.equal(successCount + failureCount, count);
    assert.equal(failureCount, unknownCount);
    assert.ok(times.size >= successCount && times.size <= successCount + unknownCount, `${times.size}`);
    assert.ok(unknownCount <= 200, `${unknownCount} of two calls`);
    assert.deepEqual(await statuses(`job:${id}`), {
      sent: successCount,
      ...(unknownCount > 0 ? { ambiguous: unknownCount } : {}),
    });
    assert.equal(progress, 100);
    t.diagnostic(`${count} users: ${successCount} were told, of ${unknownCount} nobody knows`);
  } finally {
    await rm(dir, { recursive: true });
  }
});

suite('by a worker that lives', () => {
  before(async () => {
    await rig.worker(await loadRegistry(), { QUEUES: 'notification', ...fcm.env, FCM_RATE: '100000' });
  });

  test('counts users: those without a device and those with one that is none have failed', async () => {
    const userIds = await users('some', 5);
    await sql(`update push_tokens set user_id = 'some-1' where token = 'some-2'`);
    fcm.fail(unregistered, { token: 'some-3' });
    const payload = { userIds: [...userIds, 'some-1'], title: 'x', body: 'y', message_id: 'batch-once' };
    const { result } = await reads(rig.db, await send(payload), { status: 'completed', attempt: 1 });
    assert.deepEqual(result, { successCount: 3, failureCount: 2, unknownCount: 0 });
    assert.deepEqual([...told('some').keys()].toSorted(), ['some-1', 'some-2', 'some-4', 'some-5']);
    const again = await reads(rig.db, await send(payload), { status: 'completed', attempt: 1 });
    assert.deepEqual(again['result'], { successCount: 3, failureCount: 2, unknownCount: 0 });
    assert.equal(fcm.taken.filter(({ token }) => token.startsWith('some-')).length, 4);
    const [{ status } = {}] = await sql(`select status from notifications where message_id = 'batch-once'`);
    assert.equal(status, 'sent');
  });

  test('what passes is tried again for those users alone; on the last attempt they have failed', async () => {
    const userIds = await users('few', 3);
    fcm.fail(internal, { token: 'few-1', times: 1 });
    fcm.fail(internal, { token: 'few-2' });
    const id = await send({ userIds, title: 'x', body: 'y' }, { max_retries: 2 });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 3 });
    assert.deepEqual(result, { successCount: 2, failureCount: 1, unknownCount: 0 });
    assert.deepEqual([...told('few').values()], [1, 1]);
    assert.deepEqual(await statuses(`job:${id}`), { sent: 2, failed: 1 });
  });

  test('a quota makes it wait, and uses no retry', async () => {
    const userIds = await users('many', 300);
    const quota = {
      status: 429,
      headers: { 'retry-after': '1' },
      body: fcmError('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED'),
    };
    fcm.fail(quota, { token: 'many-250', times: 1 });
    const id = await send({ userIds, title: 'x', body: 'y' });
    const { result } = await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
    assert.deepEqual(result, { successCount: 300, failureCount: 0, unknownCount: 0 });
    assert.deepEqual(
      [...told('many').values()].filter((times) => times > 1),
      [],
    );
  });

  test('an answer that is lost: that user is not told again', async () => {
    const userIds = await users('lost', 2);
    fcm.fail('drop', { token: 'lost-1', times: 1 });
    const id = await send({ userIds, title: 'x', body: 'y' });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1 });
    assert.deepEqual(result, { successCount: 1, failureCount: 1, unknownCount: 1 });
    assert.deepEqual(await statuses(`job:${id}`), { sent: 1, ambiguous: 1 });
  });

  test('what is wrong is named', async () => {
    for (const [payload, said] of [
      [{ title: 'x', body: 'y' }, /payload\.userIds/],
      [{ userIds: ['a'], title: 'x', body: 'y', channel: 'sms' }, /payload\.channel/],
      [{ userIds: ['a'] }, /neither a template nor a title and a body/],
    ] as const) {
      const { error } = await reads(rig.db, await send(payload), { status: 'failed', error_code: 'invalid_payload' });
      assert.match(error, said);
    }
  });
});
