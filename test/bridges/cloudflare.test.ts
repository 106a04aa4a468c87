import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import type { CloudflareConfig } from '../../worker/base/config/cloudflare.ts';
import { startCloudflare as startBridge } from '../../worker/bridges/cloudflare.ts';
import { checkBridges } from '../../worker/cli/doctor/bridges.ts';
import { startCloudflare } from '../support/cloudflare.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';

// Messages of Cloudflare Queues become jobs: none is lost, none becomes two.

let db: TestDatabase;
const closing: (() => Promise<unknown>)[] = [];
before(async () => void (db = await createDatabase()));
after(() => db.drop());
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  await db.query('delete from jobs; delete from rejected_messages');
});

async function open(key?: string) {
  const cloudflare = await startCloudflare(key);
  closing.push(() => cloudflare.close());
  return cloudflare;
}

function start(config: CloudflareConfig) {
  const bridge = startBridge({ db, log: silent, config: { secrets: [] } as never }, config)[0]!;
  closing.push(() => bridge.stop());
  return bridge;
}

const jobs = async () => (await db.query('select * from jobs order by id')).rows;

test('a message is JSON, text or bytes; it says what it is, or the setting does', async () => {
  const cloudflare = await open('media.image');
  cloudflare.send('{"kind":"notification.push","payload":{"text":"\u00c3\u00a9"},"priority":-2,"delay":60000}');
  cloudflare.send('{"kind":"media.audio","n":1}', 'text');
  cloudflare.send('{"n":2}', 'bytes');
  cloudflare.send('abcd', 'text');
  cloudflare.send('{"n":"\xff"}', 'bytes');
  start(cloudflare.config);
  await eventually(() => assert.equal(cloudflare.left(), 0));
  assert.deepEqual(
    (await jobs()).map(({ queue, kind, payload, priority, run_at }) => [
      `${queue}.${kind}`,
      payload,
      priority,
      run_at > Date.now() + 30_000,
    ]),
    [
      ['notification.push', { text: 'é' }, -2, true],
      ['media.audio', { kind: 'media.audio', n: 1 }, 0, false],
      ['media.image', { n: 2 }, 0, false],
    ],
  );
  const { rows } = await db.query('select source, reason from rejected_messages order by id');
  const source = `cloudflare:${cloudflare.queue}`;
  assert.deepEqual(rows, [
    { source, reason: 'not_json' },
    { source, reason: 'not_utf8' },
  ]);
});

test('what is not acknowledged comes again, and is known', async () => {
  const cloudflare = await open('media.image');
  for (let n = 0; n < 250; n++) cloudflare.send(JSON.stringify({ n }));
  cloudflare.loseAcks(2);
  start(cloudflare.config);
  await eventually(() => assert.equal(cloudflare.left(), 0));
  assert.equal((await jobs()).length, 250);
});

test('an error of Cloudflare is told by its code; the bridge goes on', async () => {
  const cloudflare = await open('media.image');
  cloudflare.send('{}');
  cloudflare.fail(500, 10_001, { times: 3 });
  const bridge = start(cloudflare.config);
  await eventually(() => assert.equal(bridge.state().code, 'cloudflare_10001'));
  await eventually(() => assert.equal(cloudflare.left(), 0));
  assert.ok(bridge.state().connected);

  const other = start({ ...cloudflare.config, token: 'wrong' });
  await eventually(() => assert.equal(other.state().code, 'cloudflare_10106'));
  assert.equal(other.state().connected, false);
});

test('a queue that is too busy from the beginning is not called connected', async () => {
  const cloudflare = await open('media.image');
  cloudflare.send('{}');
  cloudflare.fail(429, 10_250, { headers: { 'retry-after': '1' } });
  const bridge = start(cloudflare.config);
  await eventually(() => assert.equal(bridge.state().code, 'cloudflare_10250'));
  assert.equal(bridge.state().connected, false);
  await eventually(() => assert.equal(cloudflare.left(), 0));
  assert.ok(bridge.state().connected);
});

test('an envelope that is not UTF-8 is kept as it came', async () => {
  const cloudflare = await open();
  cloudflare.send('{"kind":"media.image","payload":{"n":"\xff"}}', 'bytes');
  start(cloudflare.config);
  await eventually(() => assert.equal(cloudflare.left(), 0));
  const { rows } = await db.query('select reason from rejected_messages');
  assert.deepEqual([rows, await jobs()], [[{ reason: 'no_kind' }], []]);
});

test('the doctor sees whether a queue may be pulled, and takes no message', async () => {
  const cloudflare = await open();
  const queues = [...cloudflare.config.queues, { id: 'c'.repeat(32), key: undefined }];
  const checks = await Array.fromAsync(checkBridges({ sqs: undefined, cloudflare: { ...cloudflare.config, queues } }));
  assert.deepEqual(
    checks.map(({ state }) => state),
    ['ok', 'fail'],
  );
  assert.match(checks[1]!.detail, /Cloudflare answers 404: error 10104/);
});
