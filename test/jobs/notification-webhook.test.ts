import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, suite, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { loadRegistry } from '../../worker/queue/registry.ts';
import { eventually } from '../support/eventually.ts';
import { slow } from '../support/everything.ts';
import { add, reads } from '../support/jobs.ts';
import { startVendor, type Vendor } from '../support/vendor.ts';
import { createRig, type Rig } from '../support/worker.ts';

// notification.webhook end to end: a row, a worker, and a receiver on loopback, which verifies with another library.

const newSecret = () => `whsec_${randomBytes(32).toString('base64')}`;
const usual = newSecret();
const ring = `k1:${randomBytes(32).toString('base64')}`;

let rig: Rig;
let receiver: Vendor;
let hook: string;

const send = (payload: object, columns: Record<string, unknown> = {}) =>
  add(rig.db, 'notification', 'webhook', { payload, ...columns });
const done = async (payload: object) => reads(rig.db, await send(payload), { status: 'completed' }, 20_000);
const fails = async (payload: object, error_code: string, columns: Record<string, unknown> = { max_retries: 0 }) =>
  (await reads(rig.db, await send(payload, columns), { status: 'failed', error_code }, 20_000))['error'];
const last = () => receiver.taken.at(-1)!;
const bodyOf = ({ body } = last()) => JSON.parse(body);
/** What the receiver reads, if the signature is that of its secret. @throws if it is not */
const verified = (secret: string, { body, headers } = last()): any =>
  new Webhook(secret).verify(body, headers as Record<string, string>);
const endpoint = async (id: string, columns: Record<string, unknown> = {}) => {
  const row = { id, url: hook, ...columns };
  const names = Object.keys(row);
  const { rows } = await rig.db.query<{ secret: string }>(
    `insert into webhook_endpoints (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')})
     returning secret`,
    Object.values(row),
  );
  return rows[0]!.secret;
};
const stateOf = async (id: string) =>
  (await rig.db.query(`select * from webhook_endpoints where id = $1`, [id])).rows[0] as Record<string, any>;

before(async () => {
  [rig, receiver] = await Promise.all([createRig(), startVendor(() => ({ status: 200, body: 'ok' }))]);
  hook = `${receiver.url}/hook`;
  await rig.db.query(`update queues set backoff_ms = 20 where name = 'notification'`);
  await rig.worker(await loadRegistry(), {
    QUEUES: 'notification',
    WEBHOOK_SECRET: usual,
    WEBHOOK_ALLOW: '127.0.0.1/32',
    SEAL_KEYS: ring,
  });
});
beforeEach(() => receiver.heal());
after(async () => {
  await rig.close();
  await receiver.close();
});

suite('the JSON of each seed', () => {
  test('NEXUS: a template and its variables', async () => {
    const secret = newSecret();
    const { result } = await done({
      type: 'webhook',
      template: 'video-complete',
      templateData: { title: 'Cats', url: 'https://v.example/1', id: 7 },
      webhook: { url: hook, secret },
    });
    const { type, timestamp, data } = verified(secret);
    assert.equal(type, 'video-complete');
    assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
    assert.equal(data.id, 7);
    assert.match(data.body, /Cats/);
    assert.deepEqual([last().path, last().headers['webhook-id']], ['/hook', result.delivery_id]);
    assert.deepEqual(
      [result.provider, last().headers['content-type']],
      ['standard', 'application/json; charset=utf-8'],
    );
  });

  test('the messenger: a title and a body', async () => {
    await done({
      type: 'webhook',
      userId: 'u1',
      webhookUrl: hook,
      title: 'New',
      body: 'Hello é',
      data: { chat: 3 },
    });
    assert.deepEqual(verified(usual).data, { chat: 3, title: 'New', body: 'Hello é', user_id: 'u1' });
  });

  test('the notification system: an event, whose message_id is sent once', async () => {
    const secret = await endpoint('shop');
    const event = {
      notification_id: 'notif_hook',
      message_id: 'msg_hook',
      target_user_id: 'user_1',
      channel: 'webhook',
      payload: { endpoint_id: 'shop', order: { id: 5 } },
      priority: 'high',
    };
    await done(event);
    assert.deepEqual(verified(secret).data, { order: { id: 5 }, user_id: 'user_1' });
    const count = receiver.taken.length;
    assert.equal((await done(event))['result'].repeated, true);
    await fails({ ...event, payload: { endpoint_id: 'shop', order: { id: 6 } } }, 'message_id_reused');
    assert.equal(receiver.taken.length, count);
  });

  test('a body of its own', async () => {
    await done({ webhook: { url: hook, body: { hello: ['world'] } } });
    assert.deepEqual(verified(usual), { hello: ['world'] });
    await done({ webhook: { url: hook, event: 'order.paid' }, data: { id: 1 } });
    assert.deepEqual([bodyOf().type, bodyOf().data], ['order.paid', { id: 1 }]);
  });
});

test('the secret is rotated: both sign, and each alone is enough', async () => {
  const first = await endpoint('rotated');
  const second = newSecret();
  await done({ webhook: 'rotated', title: 'one' });
  verified(first);
  await rig.db.query(`update webhook_endpoints set previous_secret = secret, secret = $1 where id = 'rotated'`, [
    second,
  ]);
  await done({ webhook: 'rotated', title: 'two' });
  assert.deepEqual([verified(first).data.title, verified(second).data.title], ['two', 'two']);
  assert.match(last().headers['webhook-signature'] as string, /^v1,\S{44} v1,\S{44}$/);
  await rig.db.query(`update webhook_endpoints set previous_secret = null where id = 'rotated'`);
  await done({ webhook: 'rotated', title: 'three' });
  verified(second);
  assert.throws(() => verified(first), /signature/i);
});

test('410 disables the endpoint in the same attempt, and nothing more is sent to it', async () => {
  await endpoint('gone');
  receiver.fail({ status: 410 }, 1);
  await fails({ webhook: 'gone', title: 'x' }, 'webhook_gone', {});
  const { disabled_at, disabled_reason } = await stateOf('gone');
  assert.ok(disabled_at);
  assert.equal(disabled_reason, 'it answered 410');
  const count = receiver.taken.length;
  assert.match(await fails({ webhook: 'gone', title: 'y' }, 'webhook_endpoint_disabled', {}), /it answered 410/);
  assert.equal(receiver.taken.length, count);
});

test('only failures for five days disable an endpoint, and a success in between does not', async () => {
  await endpoint('weak');
  const fail = async () => {
    receiver.fail({ status: 500 }, 1);
    await fails({ webhook: 'weak', title: 'x' }, 'webhook_unavailable');
  };
  const age = (interval: string) =>
    rig.db.query(`update webhook_endpoints set failing_since = now() - $1::interval where id = 'weak'`, [interval]);
  await fail();
  assert.ok((await stateOf('weak'))['failing_since']);
  await age('119 hours');
  await fail();
  assert.equal((await stateOf('weak'))['disabled_at'], null);
  await done({ webhook: 'weak', title: 'x' });
  assert.equal((await stateOf('weak'))['failing_since'], null);
  receiver.fail('drop', 1);
  await fails({ webhook: 'weak', title: 'x' }, 'send_unanswered');
  await age('121 hours');
  await fail();
  assert.match((await stateOf('weak'))['disabled_reason'], /failed for 120 hours/);
  await rig.db.query(`update webhook_endpoints set disabled_at = null, failing_since = null where id = 'weak'`);
  await done({ webhook: 'weak', title: 'x' });
});

test('no answer, and a server error: it is sent again under the same id, with the same body', async () => {
  receiver.fail('lost', 1);
  const { result, retry_count } = await done({ webhook: hook, title: 'x' });
  assert.equal(retry_count, 1);
  const [first, second] = receiver.taken.slice(-2);
  assert.deepEqual([first!.headers['webhook-id'], first!.body], [result.delivery_id, second!.body]);
  assert.equal(second!.headers['webhook-id'], result.delivery_id);
});

test('Retry-After: its messages wait as long, those of others do not, and it costs no retry', async () => {
  receiver.fail({ status: 503, headers: { 'retry-after': '2' } }, 1);
  const first = await send({ webhook: `${hook}/slow`, title: 'x' });
  await reads(rig.db, first, { status: 'pending', attempt: 1 });
  const began = performance.now();
  const second = await send({ webhook: `${hook}/slow`, title: 'y' });
  await done({ webhook: hook, title: 'z' });
  for (const id of [first, second]) await reads(rig.db, id, { status: 'completed', retry_count: 0 }, 30_000);
  assert.ok(performance.now() - began > 1_500);
});

test('what is missing, wrong or not allowed is named, and sends nothing', async () => {
  const count = receiver.taken.length;
  const [, port] = /:(\d+)$/.exec(receiver.url)!;
  assert.match(await fails({ title: 'x' }, 'invalid_payload'), /payload\.webhook: is missing/);
  assert.match(await fails({ webhook: hook }, 'invalid_payload'), /neither a template nor a title/);
  await fails({ webhook: 'no such thing', title: 'x' }, 'invalid_recipient');
  await fails({ webhook: 'nobody', title: 'x' }, 'webhook_endpoint_not_found');
  await fails({ webhook: { url: hook, secret: 'short' }, title: 'x' }, 'invalid_payload');
  for (const url of [
    `http://[::1]:${port}/`,
    `http://127.0.0.2:${port}/`,
    `http://u:p@127.0.0.1:${port}/`,
    'ftp://a.b',
  ])
    await fails({ webhook: url, title: 'x' }, 'address_refused', {});
  receiver.fail({ status: 307, headers: { location: hook } }, 1);
  assert.match(await fails({ webhook: hook, title: 'x' }, 'webhook_redirected'), /not followed/);
  assert.equal(receiver.taken.length, count);
});

slow('the secrets of endpoints are sealed within a minute, also of one that nobody has used', async () => {
  const secret = await endpoint('sealed', { previous_secret: newSecret() });
  const row = await eventually(async () => {
    const found = await stateOf('sealed');
    assert.match(`${found['secret']} ${found['previous_secret']}`, /^sealed:k1:\S+ sealed:k1:\S+$/);
    return found;
  }, 60_000);
  await done({ webhook: 'sealed', title: 'x' });
  verified(secret);
  await rig.db.query(`update webhook_endpoints set secret = $1 where id = 'shop'`, [row['secret']]);
  await fails({ webhook: 'shop', title: 'x' }, 'sealed_elsewhere');
});
