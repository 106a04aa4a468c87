import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { fcmError, startFcm, type FakeFcm } from '../support/fcm.ts';
import { add, reads, rows, type Row } from '../support/jobs.ts';
import { createRig, setQueue, type Rig } from '../support/worker.ts';

// notification.push end to end: rows, a worker, the firebase-admin SDK, a server that speaks FCM, and the ledger.

let rig: Rig;
let fcm: FakeFcm;
let worker: Awaited<ReturnType<Rig['worker']>>;

const unregistered = { status: 404, body: fcmError('NOT_FOUND', 'UNREGISTERED') };

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query<Row>(text, values)).rows;
const send = (payload: object, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'notification', 'push', { payload, ...columns });
const sentTo = (token: string) => fcm.taken.filter((message) => message.token === token);
const ledger = (message_id: string) =>
  sql(
    `select n.status as notification, n.target_user_id, d.id::text, d.status, d.provider, d.provider_message_id,
            d.error_code
       from notifications n join notification_deliveries d on d.notification_id = n.id
      where n.message_id = $1 order by d.status`,
    [message_id],
  );
const device = (user_id: string, token: string) =>
  sql(
    `insert into push_tokens (token_hash, user_id, token)
     values (encode(sha256(convert_to($2, 'UTF8')), 'hex'), $1, $2)`,
    [user_id, token],
  );
const isInvalid = async (token: string) =>
  (await sql(`select invalid_at is not null as invalid from push_tokens where token = $1`, [token]))[0]!['invalid'];
/** Pushes that are inserted while the queue is paused, so that one call sends them. */
async function together(payloads: object[]): Promise<number[]> {
  await setQueue(rig.db, [worker], 'notification', { paused: true });
  const added = await sql(
    `insert into notification_jobs (kind, payload) select 'push', p from jsonb_array_elements($1) p returning id`,
    [JSON.stringify(payloads)],
  );
  await setQueue(rig.db, [worker], 'notification', {});
  return added.map(({ id }) => id);
}

before(async () => {
  [rig, fcm] = await Promise.all([createRig(), startFcm()]);
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
  worker = await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    ...fcm.env,
    FCM_RATE: '100000',
    PUSH_ANDROID_CHANNEL: 'messages',
    INCIDENT_CHECK_INTERVAL: '200',
  });
});
beforeEach(() => fcm.heal());
after(async () => {
  await rig.close();
  await fcm.close();
});

suite('the JSON of each seed, as it stands', () => {
  test('the messenger: a title and a body', async () => {
    const id = await send({
      type: 'push',
      userId: 'user-uuid',
      fcmToken: 'firebase-token',
      title: 'New Message',
      body: 'John: Hey, how are you?',
      data: { type: 'message', chatId: 'chat-uuid', senderId: 'sender-uuid', unread: 3, mute: false, to: ['a'] },
    });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1, error_code: null });
    const [delivery] = await ledger(`job:${id}`);
    const [message] = sentTo('firebase-token');
    assert.deepEqual(message, {
      token: 'firebase-token',
      notification: { title: 'New Message', body: 'John: Hey, how are you?' },
      data: { type: 'message', chatId: 'chat-uuid', senderId: 'sender-uuid', unread: '3', mute: 'false', to: '["a"]' },
      android: { notification: { tag: delivery!['id'], channel_id: 'messages', sound: 'default' } },
      apns: {
        headers: { 'apns-push-type': 'alert', 'apns-collapse-id': delivery!['id'] },
        payload: { aps: { sound: 'default' } },
      },
      webpush: { notification: { tag: delivery!['id'] } },
    });
    assert.deepEqual(
      [delivery!['notification'], delivery!['status'], delivery!['provider'], delivery!['target_user_id']],
      ['sent', 'sent', 'fcm', 'user-uuid'],
    );
    const { provider_message_id } = delivery!;
    assert.match(String(provider_message_id), /^projects\/shop\/messages\//);
    assert.deepEqual(result, { delivery_id: delivery!['id'], provider: 'fcm', provider_message_id });
  });

  test('NEXUS: what is about the push stands in `push`', async () => {
    const id = await send({
      type: 'push',
      push: {
        token: 'nexus-token',
        title: 'Video ready',
        body: 'It is here',
        data: { videoId: 'v1' },
        collapseKey: 'video',
        channelId: 'videos',
        sound: 'ping.caf',
        clickAction: 'OPEN_VIDEO',
        badge: 2,
        category: 'VIDEO',
        link: 'https://nexus.com/v1',
        image: 'https://nexus.com/v1.png',
      },
      priority: 'critical',
      ttl: 60,
    });
    await reads(rig.db, id, { status: 'completed', priority: -20 });
    const [message] = sentTo('nexus-token');
    const expires = Number(message!.apns.headers['apns-expiration']);
    assert.ok(Math.abs(expires - Date.now() / 1_000 - 60) < 30, `${expires}`);
    delete message!.apns.headers['apns-expiration'];
    assert.deepEqual(message, {
      token: 'nexus-token',
      notification: { title: 'Video ready', body: 'It is here', image: 'https://nexus.com/v1.png' },
      data: { videoId: 'v1' },
      android: {
        priority: 'high',
        ttl: '60s',
        collapse_key: 'video',
        notification: { tag: 'video', channel_id: 'videos', sound: 'ping.caf', click_action: 'OPEN_VIDEO' },
      },
      apns: {
        headers: { 'apns-push-type': 'alert', 'apns-collapse-id': 'video', 'apns-priority': '10' },
        payload: { aps: { sound: 'ping.caf', badge: 2, category: 'VIDEO' } },
      },
      webpush: {
        headers: { TTL: '60', Urgency: 'high' },
        notification: { tag: 'video' },
        fcmOptions: { link: 'https://nexus.com/v1' },
      },
    });
  });

  test('an event, with a template and its variables', async () => {
    await sql(
      `insert into notification_templates (id, channel, subject, text)
       values ('tmpl_hello', 'push', 'Hello {{user_name}}', 'Good to see you')`,
    );
    const event = {
      notification_id: 'notif_abc123',
      message_id: 'msg_unique_id',
      target_user_id: 'user_123',
      channel: 'push',
      template_id: 'tmpl_hello',
      payload: { user_name: 'John Doe', fcm_token: 'event-token' },
      priority: 'normal',
      metadata: { source: 'signup_flow' },
    };
    await reads(rig.db, await send(event), { status: 'completed' });
    assert.equal(sentTo('event-token')[0]!.notification.title, 'Hello John Doe');
    const { result } = await reads(rig.db, await send(event), { status: 'completed', attempt: 1 });
    assert.equal(result.repeated, true);
    assert.equal(sentTo('event-token').length, 1);
  });

  test('what is missing is named', async () => {
    const id = await send({ type: 'push', title: 'x', body: 'y' });
    const { error } = await reads(rig.db, id, { status: 'failed', error_code: 'invalid_payload' });
    assert.equal(error, 'payload.fcmToken: is missing, and so is userId: the device, or the user');
  });
});

suite('a user alone', () => {
  test('gets it on all valid devices; one that is none is marked, and the others are told', async () => {
    for (const token of ['phone', 'tablet', 'old', 'gone']) await device('user_9', token);
    await sql(`update push_tokens set invalid_at = now() where token = 'old'`);
    fcm.fail(unregistered, { token: 'gone' });
    const id = await send({ userId: 'user_9', title: 'Hello', body: 'x' });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 1 });
    assert.deepEqual([result.successCount, result.failureCount, result.deliveries.length], [2, 1, 2]);
    assert.deepEqual(
      ['phone', 'tablet', 'old', 'gone'].map((token) => sentTo(token).length),
      [1, 1, 0, 0],
    );
    assert.deepEqual([await isInvalid('gone'), await isInvalid('phone')], [true, false]);
    assert.deepEqual(
      (await ledger(`job:${id}`)).map(({ status, error_code }) => [status, error_code]),
      [
        ['failed', 'invalid_recipient'],
        ['sent', null],
        ['sent', null],
      ],
    );
  });

  test('who has no device is skipped', async () => {
    const { result } = await reads(rig.db, await send({ userId: 'nobody', title: 'x', body: 'y' }), {
      status: 'completed',
    });
    assert.deepEqual(result, { skipped: 'no_recipient' });
  });

  test('one of two devices must wait: the other is not told twice', async () => {
    for (const token of ['now', 'later']) await device('user_10', token);
    fcm.fail({ status: 500, body: fcmError('INTERNAL') }, { token: 'later', times: 1 });
    const id = await send({ userId: 'user_10', title: 'Hello', body: 'x' });
    const { result } = await reads(rig.db, id, { status: 'completed', attempt: 2, retry_count: 1 });
    assert.deepEqual([result.successCount, result.failureCount], [2, 0]);
    assert.deepEqual([sentTo('now').length, sentTo('later').length], [1, 1]);
  });
});

suite('many in one call', () => {
  test('each is judged by itself, and none takes its neighbours along', async () => {
    await device('u', 'mismatch');
    fcm.judge(({ token }) =>
      token === 'mismatch' ? { status: 403, body: fcmError('PERMISSION_DENIED', 'SENDER_ID_MISMATCH') } : undefined,
    );
    fcm.fail(unregistered, { token: 'batch-gone' });
    fcm.fail({ status: 500, body: fcmError('INTERNAL') }, { token: 'batch-again', times: 1 });
    const words = { title: 'x', body: 'y' };
    const [fine, gone, mismatch, again, wrong, reserved, twice, same, missing] = await together([
      { ...words, fcmToken: 'batch-fine' },
      { ...words, fcmToken: 'batch-gone' },
      { ...words, fcmToken: 'mismatch' },
      { ...words, fcmToken: 'batch-again' },
      { ...words, fcmToken: 'two words' },
      { ...words, fcmToken: 'batch-reserved', data: { from: 'me' } },
      { ...words, fcmToken: 'batch-twice', message_id: 'batch-1' },
      { ...words, fcmToken: 'batch-twice', message_id: 'batch-1' },
      { template_id: 'tmpl_none', fcmToken: 'batch-missing' },
      ...Array.from({ length: 100 }, (_, n) => ({ ...words, fcmToken: `batch-${n}` })),
    ]);
    await reads(rig.db, fine!, { status: 'completed', attempt: 1 });
    await reads(rig.db, gone!, { status: 'failed', attempt: 1, error_code: 'invalid_recipient' });
    await reads(rig.db, mismatch!, { status: 'failed', attempt: 1, error_code: 'push_sender_mismatch' });
    await reads(rig.db, again!, { status: 'completed', attempt: 2, error_code: 'fcm_failed' });
    await reads(rig.db, wrong!, { status: 'failed', error_code: 'invalid_recipient' });
    const { error } = await reads(rig.db, reserved!, { status: 'failed', error_code: 'invalid_payload' });
    assert.match(error, /payload\.data\.from/);
    await reads(rig.db, missing!, { status: 'failed', error_code: 'template_not_found' });
    const results = [];
    for (const id of [twice!, same!])
      results.push((await reads(rig.db, id, { status: 'completed' }, 20_000))['result']);
    assert.equal(results.filter(({ repeated }) => repeated).length, 1);
    assert.equal(sentTo('batch-twice').length, 1);
    for (let n = 0; n < 100; n++) await reads(rig.db, missing! + 1 + n, { status: 'completed', attempt: 1 });
    assert.equal(await isInvalid('mismatch'), false);
    assert.equal((await ledger(`job:${gone}`))[0]!['status'], 'failed');
    assert.equal(fcm.tokens(), 1);
  });

  test('a message_id of other content fails alone', async () => {
    const words = { title: 'x', body: 'y' };
    await reads(rig.db, await send({ ...words, fcmToken: 'a', message_id: 'used' }), { status: 'completed' });
    const [reused, other] = await together([
      { ...words, fcmToken: 'b', message_id: 'used' },
      { ...words, fcmToken: 'c' },
    ]);
    await reads(rig.db, reused!, { status: 'failed', error_code: 'message_id_reused' });
    await reads(rig.db, other!, { status: 'completed', attempt: 1 });
    assert.deepEqual([sentTo('b').length, sentTo('c').length], [0, 1]);
  });

  test('one that is cancelled while it is sent does not keep its neighbours from being completed', async () => {
    fcm.fail('hang', { times: 1, token: 'slow' });
    const [slow, quick] = await together([
      { title: 'x', body: 'y', fcmToken: 'slow' },
      { title: 'x', body: 'y', fcmToken: 'quick' },
    ]);
    await fcm.hanging();
    await sql(`update notification_jobs set status = 'cancelled' where id = $1`, [quick]);
    await eventually(() => assert.equal(sentTo('quick').length, 1));
    assert.equal((await rows(rig.db, [slow!]))[0]!.status, 'processing');
  });
});

test('a quota pauses the bucket for all, and uses no retry', async () => {
  fcm.fail(
    { status: 429, headers: { 'retry-after': '2' }, body: fcmError('RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED') },
    { times: 1, token: 'much' },
  );
  const first = await send({ title: 'x', body: 'y', fcmToken: 'much' });
  await eventually(async () =>
    assert.equal((await sql(`select from job_errors where job_id = $1`, [first])).length, 0),
  );
  await eventually(async () => {
    const [bucket] = await sql(`select tokens from rate_limits where key = 'fcm'`);
    assert.ok(bucket!['tokens'] < -1_000, `${bucket!['tokens']}`);
  });
  const began = performance.now();
  const second = await send({ title: 'x', body: 'y', fcmToken: 'other' });
  await reads(rig.db, second, { status: 'completed', retry_count: 0 }, 20_000);
  assert.ok(performance.now() - began > 500);
  await reads(rig.db, first, { status: 'completed', retry_count: 0 }, 20_000);
});

test('while FCM is down, pushes wait and use no retry', async () => {
  fcm.fail({ status: 503, body: fcmError('UNAVAILABLE') });
  const id = await send({ title: 'x', body: 'y', fcmToken: 'patient' });
  await eventually(async () => {
    const open = await sql(`select dependency, code from incidents where resolved_at is null`);
    assert.deepEqual(open, [{ dependency: 'push', code: 'fcm_unavailable' }]);
  });
  fcm.heal();
  await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 20_000);
  assert.equal(sentTo('patient').length, 1);
});

test('an answer that is lost: it is sent again under the same tag', async () => {
  fcm.fail('drop', { times: 1, token: 'lost' });
  const id = await send({ title: 'x', body: 'y', fcmToken: 'lost' });
  await reads(rig.db, id, { status: 'completed', error_code: 'send_unanswered' }, 20_000);
  assert.equal(sentTo('lost').length, 1);
});

test('without a provider, development writes files', async () => {
  const bare = await createRig();
  const data = await mkdtemp(join(tmpdir(), 'outbox-'));
  try {
    await bare.worker(await loadRegistry(), { QUEUES: 'notification', DATA_DIR: data });
    const payload = { fcmToken: 'mine', title: 'Grüße', body: 'Hello' };
    const id = await add(bare.db, 'notification', 'push', { payload });
    const { result } = await reads(bare.db, id, { status: 'completed' });
    assert.equal(result.provider, 'outbox');
    assert.deepEqual(await readdir(join(data, 'outbox/push')), [`${result.delivery_id}.json`]);
    const written = await readFile(join(data, `outbox/push/${result.delivery_id}.json`), 'utf8');
    assert.equal(JSON.parse(written).notification.title, 'Grüße');
  } finally {
    await bare.close();
    await rm(data, { recursive: true });
  }
});
