import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { loadConfig } from '../../worker/base/config/config.ts';
import { codeOf, DeploymentError } from '../../worker/base/errors.ts';
import { createFcm } from '../../worker/providers/push/fcm.ts';
import type { PushMessage } from '../../worker/providers/push/push.ts';
import { fcmError, startFcm, type FakeFcm } from '../support/fcm.ts';

// What test/providers/contract.test.ts does not ask of every provider.

let fcm: FakeFcm;
before(async () => {
  fcm = await startFcm();
});
afterEach(() => fcm.heal());
after(() => fcm.close());

const create = (env: Record<string, string> = {}) => createFcm(loadConfig({ ...fcm.env, ...env }))!;
const { signal } = new AbortController();
const messageTo = (token: string): PushMessage => ({ ...bare, token });
const bare: Omit<PushMessage, 'token'> = {
  title: 'x',
  body: 'y',
  data: {},
  priority: undefined,
  ttl: undefined,
  collapseKey: undefined,
  channelId: undefined,
  sound: undefined,
  clickAction: undefined,
  badge: undefined,
  category: undefined,
  link: undefined,
  image: undefined,
};

test('500 messages by one call, each with its own answer', async () => {
  const sender = create();
  fcm.fail({ status: 404, body: fcmError('NOT_FOUND', 'UNREGISTERED') }, { token: 'device-7' });
  const messages = Array.from({ length: 500 }, (_, n) => ({ message: messageTo(`device-${n}`), key: `key-${n}` }));
  const answers = await sender.sendMany!(messages, { signal });
  assert.equal(answers.length, 500);
  assert.deepEqual(
    answers.flatMap((answer, n) => (answer instanceof Error ? [[n, codeOf(answer)]] : [])),
    [[7, 'invalid_recipient']],
  );
  assert.equal(new Set(fcm.taken.map(({ token }) => token)).size, 499);
  assert.equal(fcm.tokens(), 1);
  await sender.close!();
});

test('the SDK does not repeat what FCM refused', async () => {
  const sender = create();
  fcm.fail({ status: 503, headers: { 'retry-after': '1' }, body: fcmError('UNAVAILABLE') });
  const asked = fcm.asked();
  await assert.rejects(sender.send(messageTo('a'), { key: 'k', signal }));
  assert.equal(fcm.asked(), asked + 1);
  await sender.close!();
});

test('when its time is over, those that have an answer keep it', async () => {
  const sender = create({ FCM_TIMEOUT: '1000' });
  fcm.fail('hang', { token: 'slow' });
  const messages = ['quick', 'slow'].map((token) => ({ message: messageTo(token), key: token }));
  const [quick, slow] = await sender.sendMany!(messages, { signal });
  assert.ok(!(quick instanceof Error));
  assert.equal((slow as Error).name, 'UnknownOutcome');
  await sender.close!();
});

test('an access token that is refused is renewed', async () => {
  const sender = create();
  await sender.send(messageTo('a'), { key: 'k', signal });
  const tokens = fcm.tokens();
  fcm.fail({ status: 401, body: fcmError('UNAUTHENTICATED') }, { times: 1 });
  await assert.rejects(sender.send(messageTo('a'), { key: 'k', signal }), { code: 'fcm_unauthorized' });
  await sender.send(messageTo('a'), { key: 'k', signal });
  assert.equal(fcm.tokens(), tokens + 1);
  await sender.close!();
});

test('the service account: a path, {} for none, and what is wrong with it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'account-'));
  const path = join(dir, 'key.json');
  try {
    await writeFile(path, fcm.env['FIREBASE_SERVICE_ACCOUNT']!);
    const sender = create({ FIREBASE_SERVICE_ACCOUNT: path });
    await sender.check!({ signal });
    await sender.close!();
    await writeFile(path, 'not a key');
    await assert.rejects(create({ FIREBASE_SERVICE_ACCOUNT: path }).check!({ signal }), DeploymentError);
    await assert.rejects(create({ FIREBASE_SERVICE_ACCOUNT: `${path}.none` }).check!({ signal }), {
      code: 'fcm_account_unusable',
    });
  } finally {
    await rm(dir, { recursive: true });
  }
  const wrongKey = JSON.stringify({ ...JSON.parse(fcm.env['FIREBASE_SERVICE_ACCOUNT']!), private_key: 'x' });
  await assert.rejects(create({ FIREBASE_SERVICE_ACCOUNT: wrongKey }).check!({ signal }), {
    code: 'fcm_account_unusable',
  });
  assert.equal(createFcm(loadConfig({ FIREBASE_SERVICE_ACCOUNT: '{}' })), undefined);
  assert.throws(() => loadConfig({ FIREBASE_SERVICE_ACCOUNT: '{"project_id": "p"}' }), /has no client_email/);
});
