import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, afterEach, before, test } from 'node:test';
import { SendMessageBatchCommand, SendMessageCommand, type SendMessageCommandInput } from '@aws-sdk/client-sqs';
import { loadConfig } from '../../worker/base/config/config.ts';
import type { SqsConfig } from '../../worker/base/config/sqs.ts';
import { startSqs } from '../../worker/bridges/sqs.ts';
import { checkBridges } from '../../worker/cli/doctor/bridges.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';
import { openSqs } from '../support/sqs.ts';

// Messages of SQS become jobs: none is lost, none becomes two.

let db: TestDatabase;
const closing: (() => Promise<unknown>)[] = [];
before(async () => void (db = await createDatabase()));
after(() => db.drop());
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
  await db.query('delete from jobs; delete from rejected_messages');
});

async function open(options: Parameters<typeof openSqs>[0] = {}) {
  const sqs = await openSqs(options);
  closing.push(() => sqs.close());
  return sqs;
}

function start(config: SqsConfig) {
  const bridges = startSqs({ db, log: silent, config: { secrets: [] } as never }, config);
  for (const bridge of bridges) closing.push(() => bridge.stop());
  return bridges[0]!;
}

const jobs = async () => (await db.query('select * from jobs order by id')).rows;
const named = async () =>
  (await jobs())
    .map(({ queue, kind, payload, priority }) => [`${queue}.${kind}`, payload, priority])
    .toSorted(([a], [b]) => a.localeCompare(b));
const attribute = (StringValue: string) => ({ DataType: 'String', StringValue });

test('a message is named by an attribute, by its body, by the setting, or is one of a media worker', async () => {
  const sqs = await open();
  const uploads = { mediaId: 17, jobId: 'j-1' };
  const sns = {
    Type: 'Notification',
    TopicArn: 'arn:aws:sns:us-east-1:000000000000:topic',
    Message: '{"to":"you"}',
    MessageAttributes: { routingKey: { Type: 'String', Value: 'notifications.email' } },
  };
  const sent: Partial<SendMessageCommandInput>[] = [
    { MessageBody: '{"n":1}', MessageAttributes: { routingKey: attribute('media.image'), priority: attribute('-3') } },
    { MessageBody: '{"kind":"media.audio","payload":{"n":2},"priority":4}' },
    { MessageBody: JSON.stringify(uploads) },
    { MessageBody: JSON.stringify(sns) },
    { MessageBody: 'not JSON' },
  ];
  for (const each of sent)
    await sqs.client.send(new SendMessageCommand({ QueueUrl: sqs.url, MessageBody: '', ...each }));
  start(sqs.config);
  await eventually(async () => assert.equal(await sqs.left(), 0));
  assert.deepEqual(await named(), [
    ['media.audio', { n: 2 }, 4],
    ['media.image', { n: 1 }, -3],
    ['media.thumbnails', uploads, 0],
    ['notification.email', { to: 'you' }, 0],
  ]);
  const { rows } = await db.query('select source, reason from rejected_messages');
  assert.deepEqual(rows, [{ source: `sqs:${sqs.name}`, reason: 'not_json' }]);
});

test('a queue that keeps the order: jobs are in it; a message that comes again is known', async () => {
  const sqs = await open({ fifo: true, key: 'media.image' });
  for (let n = 0; n < 30; n += 10)
    await sqs.client.send(
      new SendMessageBatchCommand({
        QueueUrl: sqs.url,
        Entries: Array.from({ length: 10 }, (_, m) => ({
          Id: String(m),
          MessageBody: JSON.stringify({ n: n + m }),
          MessageGroupId: 'one',
          MessageDeduplicationId: `id-${n + m}`,
        })),
      }),
    );
  await db.query(`insert into jobs (queue, kind, dedupe_key, payload) values ('media', 'image', $1, '{"n": 3}')`, [
    `sqs:${sqs.name}:id-3`,
  ]);
  start(sqs.config);
  await eventually(async () => assert.equal(await sqs.left(), 0));
  const found = (await jobs()).map(({ payload }) => payload.n as number);
  assert.deepEqual(found, [3, 0, 1, 2, ...Array.from({ length: 26 }, (_, n) => n + 4)]);
});

test('while Postgres refuses, messages stay in SQS; after that each is one job', async () => {
  const sqs = await open({ key: 'media.image' });
  const Entries = Array.from({ length: 10 }, (_, n) => ({ Id: String(n), MessageBody: JSON.stringify({ n }) }));
  await db.query('alter table rejected_messages rename to away; alter table jobs rename to jobs_away');
  for (let n = 0; n < 5; n++) await sqs.client.send(new SendMessageBatchCommand({ QueueUrl: sqs.url, Entries }));
  const bridge = start(sqs.config);
  await eventually(() => assert.match(bridge.state().reason ?? '', /jobs/));
  assert.equal(await sqs.left(), 50);
  await db.query('alter table away rename to rejected_messages; alter table jobs_away rename to jobs');
  await eventually(async () => assert.equal(await sqs.left(), 0));
  assert.equal((await jobs()).length, 50);
});

/** Of `{}`: the SDK checks it. */
const md5 = createHash('md5').update('{}').digest('hex');

test('what SQS could not delete is deleted again', async () => {
  const { server, config, asked } = await stub((action, tries) => {
    if (action === 'ReceiveMessage' && tries === 1)
      return {
        Messages: [
          { MessageId: 'a', ReceiptHandle: 'r-a', Body: '{}', MD5OfBody: md5 },
          { MessageId: 'b', ReceiptHandle: 'r-b', Body: '{}', MD5OfBody: md5 },
        ],
      };
    if (action === 'DeleteMessageBatch' && tries === 1)
      return { Successful: [{ Id: '0' }], Failed: [{ Id: '1', Code: 'InternalError', SenderFault: false }] };
    return action === 'DeleteMessageBatch' ? { Successful: [{ Id: '1' }], Failed: [] } : {};
  });
  closing.push(async () => void server.close());
  start(config);
  await eventually(() => assert.equal(asked.filter(({ action }) => action === 'DeleteMessageBatch').length, 2));
  const deleted = asked.filter(({ action }) => action === 'DeleteMessageBatch').map(({ body }) => body.Entries);
  assert.deepEqual(deleted, [
    [
      { Id: '0', ReceiptHandle: 'r-a' },
      { Id: '1', ReceiptHandle: 'r-b' },
    ],
    [{ Id: '1', ReceiptHandle: 'r-b' }],
  ]);
});

test('a wrong key is told, and is no reason to stop', async () => {
  const { server, config } = await stub(() => undefined);
  closing.push(async () => void server.close());
  const bridge = start(config);
  await eventually(() => assert.match(bridge.state().reason ?? '', /The token is invalid/));
  assert.deepEqual([bridge.state().connected, bridge.state().code], [false, 'sqs_invalid_client_token_id']);
});

test('a server that has gone silent is told after the time of a request, and asked again', async () => {
  let hangs = false;
  const { server, config, asked } = await stub((action) => {
    if (action === 'GetQueueAttributes') return { Attributes: {} };
    return hangs ? 'nothing' : {};
  });
  closing.push(async () => {
    server.close();
    server.closeAllConnections();
  });
  const bridge = start({ ...config, requestTimeoutMs: 400 });
  await eventually(() => assert.ok(bridge.state().connected));
  hangs = true;
  await eventually(() => assert.equal(bridge.state().code, 'ETIMEDOUT'));
  assert.equal(bridge.state().connected, false);
  hangs = false;
  await eventually(() => assert.ok(bridge.state().connected));
  const soFar = asked.length;
  await eventually(() => assert.ok(asked.length > soFar + 1));
});

type Asked = { action: string; body: any };

/** Answers as SQS does what a fake does not: where `answer` is undefined, that the key is wrong. */
async function stub(answer: (action: string, tries: number) => object | 'nothing' | undefined) {
  const asked: Asked[] = [];
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const action = String(request.headers['x-amz-target']).split('.')[1]!;
    asked.push({ action, body: JSON.parse(await text(request)) });
    const said = answer(action, asked.filter((each) => each.action === action).length);
    if (said === 'nothing') return;
    const refusal = { __type: 'com.amazon.coral.service#InvalidClientTokenId', message: 'The token is invalid.' };
    if (action === 'ReceiveMessage' && said && !('Messages' in said))
      await new Promise((done) => setTimeout(done, 200));
    response.writeHead(said ? 200 : 403, { 'content-type': 'application/x-amz-json-1.0' });
    response.end(JSON.stringify(said ?? refusal));
  }
  const server: Server = createServer((request, response) => void serve(request, response));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
  const queues = [{ url: `${endpoint}/000000000000/stub`, key: 'media.image' }];
  const config: SqsConfig = { queues, region: 'us-east-1', endpoint, credentials, keyAttribute: 'routingKey' };
  return { server, config, asked };
}

test('the settings name queues, with what their messages are; a topic has one of its own', () => {
  const url = 'https://sqs.eu-west-1.amazonaws.com/123456789012/';
  const { sqs } = loadConfig({
    SQS_QUEUE_URL: `${url}media, media.image=${url}pictures`,
    'NOTIFICATIONS.EMAIL_QUEUE_URL': `${url}mails`,
    NOTIFICATIONS_PUSH_QUEUE_URL: `${url}pushes`,
    AWS_REGION: 'eu-west-1',
  });
  assert.deepEqual(sqs?.queues, [
    { url: `${url}media`, key: undefined },
    { url: `${url}pictures`, key: 'media.image' },
    { url: `${url}mails`, key: 'notifications.email' },
    { url: `${url}pushes`, key: 'notifications.push' },
  ]);
  assert.equal(sqs?.region, 'eu-west-1');
  assert.throws(() => loadConfig({ SQS_QUEUE_URL: 'media' }), /SQS_QUEUE_URL: must be addresses of queues/);
});

test('the doctor sees how many messages wait, and takes none', async () => {
  const sqs = await open();
  await sqs.client.send(new SendMessageCommand({ QueueUrl: sqs.url, MessageBody: '{}' }));
  const look = (config: SqsConfig) => Array.fromAsync(checkBridges({ sqs: config, cloudflare: undefined }));
  const [found] = await look(sqs.config);
  assert.deepEqual([found!.state, found!.detail], ['ok', `${sqs.url}: 1 message`]);
  const [missing] = await look({ ...sqs.config, queues: [{ url: `${sqs.url}-none`, key: undefined }] });
  assert.equal(missing!.state, 'fail');
});
