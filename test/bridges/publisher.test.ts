import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, afterEach, before, suite, test } from 'node:test';
import { compileFunction } from 'node:vm';
import amqplib, { type ChannelModel } from 'amqplib';
import { loadConfig } from '../../worker/base/config/config.ts';
import type { Bridge } from '../../worker/bridges/bridge.ts';
import { startRabbitmq } from '../../worker/bridges/rabbitmq.ts';
import { createDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';
import { noVirtualHosts, openVirtualHost } from '../support/virtual-host.ts';

// The producer that the messenger has, as its documents show it: what it publishes becomes jobs, with no setting but
// RABBITMQ_URL.

const keys = [
  'media.image',
  'media.video',
  'media.audio',
  'notification.push',
  'notification.email',
  'notification.sms',
  'cleanup.stories',
  'cleanup.sessions',
  'cleanup.messages',
  'cleanup.temp_files',
  'cleanup.prekeys',
  'cleanup.orphaned_media',
];

const publisher = `
const amqp = require('amqplib');

async function publishMediaJob() {
  const connection = await amqp.connect('amqp://localhost:5672');
  const channel = await connection.createChannel();

  await channel.assertExchange('sup_exchange', 'topic', { durable: true });

  const job = {
    type: 'image',
    s3Key: 'uploads/user123/image.jpg',
    userId: 'user-uuid-123',
    messageId: 'message-uuid-456',
    originalName: 'vacation.jpg'
  };

  channel.publish(
    'sup_exchange',
    'media.image',
    Buffer.from(JSON.stringify(job)),
    { persistent: true, contentType: 'application/json' }
  );

  console.log('Job published successfully');

  await channel.close();
  await connection.close();
}`;

suite('the producer, unchanged', { skip: noVirtualHosts }, () => {
  let db: TestDatabase;
  let host: Awaited<ReturnType<typeof openVirtualHost>>;
  let connection: ChannelModel;
  let bridges: Bridge[];
  before(async () => {
    db = await createDatabase();
    host = await openVirtualHost();
    connection = await amqplib.connect(host.url);
    bridges = [];
  });
  after(async () => {
    await connection.close();
    await host.close();
    await db.drop();
  });
  afterEach(async () => {
    await Promise.all(bridges.splice(0).map((bridge) => bridge.stop()));
    const channel = await connection.createChannel();
    for (const queue of await rowmillQueues()) await channel.deleteQueue(`rowmill.${queue}`);
    await channel.deleteExchange('sup_exchange');
    await channel.close();
    await db.query('delete from jobs; delete from bridge_unacked');
  });

  const rowmillQueues = async () =>
    (await db.query<{ name: string }>('select name from queues order by name')).rows.map(({ name }) => name);

  async function start(env: Record<string, string> = {}): Promise<void> {
    const config = loadConfig({ NODE_ENV: 'test', RABBITMQ_URL: host.url, ...env });
    const bridge = startRabbitmq({ db, log: silent, config }, config.rabbitmq!);
    bridges.push(bridge);
    await eventually(() => assert.ok(bridge.state().connected, JSON.stringify(bridge.state())));
  }

  /** Runs it once for each key. Only the address leads elsewhere. */
  async function publishAll(): Promise<void> {
    const real = createRequire(import.meta.url)('amqplib') as typeof amqplib;
    const given = (name: string) => (assert.equal(name, 'amqplib'), { connect: () => real.connect(host.url) });
    for (const key of keys) {
      const code = publisher.replace("'media.image'", `'${key}'`);
      const run = compileFunction(`${code}; return publishMediaJob();`, ['require', 'console']) as (
        ...parts: unknown[]
      ) => unknown;
      await run(given, { log() {} });
    }
  }

  async function all12(): Promise<void> {
    await eventually(async () => {
      const { rows } = await db.query<{ name: string; key: string }>(
        `select queue || '.' || kind as name, payload ->> 's3Key' as key from jobs`,
      );
      assert.deepEqual(rows.map(({ name }) => name).toSorted(), keys.toSorted());
      assert.ok(rows.every(({ key }) => key === 'uploads/user123/image.jpg'));
    });
    await eventually(async () => assert.equal((await db.query('select from bridge_unacked')).rowCount, 0));
    await Promise.all(bridges.map((bridge) => bridge.stop()));
    const channel = await connection.createChannel();
    for (const queue of await rowmillQueues())
      assert.equal((await channel.checkQueue(`rowmill.${queue}`)).messageCount, 0);
    await channel.close();
  }

  for (const type of ['classic', 'quorum'])
    test(`on a fresh broker, ${type} queues: 12 routing keys are jobs of their kinds`, async () => {
      await start({ RABBITMQ_QUEUE_TYPE: type });
      await start({ RABBITMQ_QUEUE_TYPE: type });
      await publishAll();
      await all12();
    });

  test('where exchange and queues exist with other arguments: the same', async () => {
    const channel = await connection.createChannel();
    await channel.assertExchange('sup_exchange', 'topic', { durable: true, arguments: { 'x-owner': 'messenger' } });
    for (const queue of await rowmillQueues())
      await channel.assertQueue(`rowmill.${queue}`, {
        durable: true,
        maxPriority: 5,
        messageTtl: 600_000,
        deadLetterExchange: 'no_such_exchange',
      });
    await channel.bindQueue('rowmill.media', 'sup_exchange', 'media.*');
    await channel.close();
    await start({ RABBITMQ_QUEUE_TYPE: 'quorum' });
    await publishAll();
    await all12();
  });
});
