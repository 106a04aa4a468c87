import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, afterEach, before, beforeEach, suite, test } from 'node:test';
import amqplib from 'amqplib';
import type { BridgeState } from '../../worker/bridges/bridge.ts';
import { startDead, startRabbitmq } from '../../worker/bridges/rabbitmq.ts';
import { Ledger } from '../../worker/bridges/rabbitmq/ledger.ts';
import { runSession } from '../../worker/bridges/rabbitmq/session.ts';
import type { RabbitmqConfig } from '../../worker/base/config/rabbitmq.ts';
import { checkRabbitmq } from '../../worker/cli/doctor/rabbitmq.ts';
import { createClient } from '../../worker/base/db/db.ts';
import { createDatabase, databaseUrl, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/eventually.ts';
import { silent } from '../support/log.ts';
import { noRabbitmq, openBroker, rabbitmqUrl, type Broker } from '../support/rabbitmq.ts';
import { startWire } from '../support/wire.ts';

// Messages of a real RabbitMQ become jobs: none is lost, none becomes two, whatever dies in between.

suite('RabbitMQ', { skip: noRabbitmq }, () => {
  let db: TestDatabase;
  let broker: Broker;
  let bridges: { stop(): Promise<void>; state(): BridgeState }[];

  before(async () => {
    db = await createDatabase();
  });
  after(() => db.drop());
  beforeEach(async () => {
    broker = await openBroker();
    bridges = [];
  });
  afterEach(async () => {
    await Promise.all(bridges.map((bridge) => bridge.stop()));
    await broker.close();
    await db.query('delete from jobs; delete from rejected_messages; delete from bridge_unacked');
  });

  const start = async (more: Partial<RabbitmqConfig> = {}) => {
    const app = { db, log: silent, config: { secrets: [] } as never };
    const bridge = startRabbitmq(app, { ...broker.config, ...more });
    bridges.push(bridge);
    await eventually(() => assert.ok(bridge.state().connected, JSON.stringify(bridge.state())));
    return bridge;
  };
  const jobs = async () => (await db.query('select * from jobs order by id')).rows;
  const payloads = async () => (await jobs()).map(({ payload }) => payload.n as number).toSorted((a, b) => a - b);
  const numbered = (count: number) => Array.from({ length: count }, (_, n) => ({ key: 'media.image', body: { n } }));
  const allAcked = async (queues = broker.config.queues!) => {
    await eventually(async () => assert.equal((await db.query('select from bridge_unacked')).rowCount, 0));
    await Promise.all(bridges.map((bridge) => bridge.stop()));
    for (const { name } of queues) assert.equal((await broker.channel.checkQueue(name)).messageCount, 0);
  };

  test('priority, headers and messageId are honoured; equal messages without an id are two jobs', async () => {
    const headers = { 'run-at': '2030-01-31T12:00:00Z' };
    await start({ queueType: 'quorum' });
    await broker.publish([
      { key: 'media.image', body: { n: 1 }, options: { priority: 7, headers, messageId: 'a' } },
      { key: 'media.image', body: { n: 2 }, options: { messageId: 'a' } },
      { key: 'media.image', body: { n: 3 } },
      { key: 'media.image', body: { n: 3 } },
    ]);
    await eventually(async () => assert.deepEqual(await payloads(), [1, 3, 3]));
    const [first] = await jobs();
    assert.deepEqual([first.priority, first.run_at.toISOString()], [-7, '2030-01-31T12:00:00.000Z']);
    assert.equal(first.dedupe_key, `rabbitmq:${broker.queue}:a`);
    await allAcked();
  });

  test('messages that cannot become jobs are kept, and the others go on', async (t) => {
    await start();
    const wire = await startWire(rabbitmqUrl);
    t.after(wire.close);
    const raw = await amqplib.connect(wire.url);
    raw.on('error', () => {});
    await raw.createChannel();
    wire.inject(withLongHeader(broker.exchange, 'media.image', 100_000));
    await eventually(async () => assert.equal((await db.query('select from rejected_messages')).rowCount, 1));
    await raw.close();
    await broker.publish([
      { key: 'media.image', body: Buffer.from('{"cut": ') },
      { key: 'media.image', body: Buffer.from([0xff, 0xfe]) },
      { key: 'no_such_queue.x', body: {} },
      { key: 'media.image', body: { big: 'x'.repeat(20_000_000) } },
      { key: 'media.image', body: [], options: { headers: { note: 'n'.repeat(60_000), priority: 'high' } } },
      { key: 'media.image', body: 'a text', options: { headers: { unknown: true } } },
      { key: 'media.imagee', body: { s3key: 17 } },
      { key: 'media.image', body: { n: 1 } },
    ]);
    // A worker judges these: the first two will be dead letters.
    const made = [
      ['image', 'a text'],
      ['imagee', { s3key: 17 }],
      ['image', { n: 1 }],
    ];
    await eventually(async () =>
      assert.deepEqual(
        (await jobs()).map(({ kind, payload }) => [kind, payload]),
        made,
      ),
    );
    const { rows } = await db.query(
      'select source, reason, octet_length(body) as bytes from rejected_messages order by id',
    );
    assert.deepEqual(
      rows.map(({ reason }) => reason),
      ['invalid_header', 'not_json', 'not_utf8', 'unknown_queue', 'refused', 'invalid_header'],
    );
    assert.deepEqual([rows[0].source, rows[4].bytes], [`rabbitmq:${broker.queue}`, 20_000_010]);
    await allAcked();
  });

  test('a bridge that dies between the commit and the acknowledgement: no job twice, twins are two', async (t) => {
    const wire = await startWire(rabbitmqUrl);
    t.after(wire.close);
    await start({ url: wire.url });
    const tx = await db.connect();
    await tx.query('begin; lock table jobs in share mode');
    // While the first are not committed, the others wait in the bridge.
    await broker.publish([...numbered(60), ...numbered(20)]);
    await eventually(async () => {
      const { rows } = await db.query(`select from pg_locks where not granted and relation = 'jobs'::regclass`);
      assert.ok(rows.length > 0);
    });
    wire.mute();
    await tx.query('commit');
    tx.release();
    await eventually(async () => assert.notEqual((await jobs()).length, 0));
    await start();
    wire.close();
    // It comes behind those that come again.
    await broker.publish([{ key: 'media.image', body: { n: 1000 } }]);
    await eventually(async () => assert.equal((await payloads()).at(-1), 1000));
    const expected = [...numbered(60), ...numbered(20), { body: { n: 1000 } }].map(({ body }) => body.n);
    assert.deepEqual(
      await payloads(),
      expected.toSorted((a, b) => a - b),
    );
    await allAcked();
  });

  test('a queue that is deleted, a channel or a connection that RabbitMQ closes: the bridge begins anew', async (t) => {
    const wire = await startWire(rabbitmqUrl);
    t.after(wire.close);
    const bridge = await start({ url: wire.url });
    const anew = async (harm: () => unknown, n: number) => {
      const { since } = bridge.state();
      await harm();
      await eventually(() => assert.ok(bridge.state().since > since && bridge.state().connected));
      await broker.publish([{ key: 'media.image', body: { n } }]);
      await eventually(async () => assert.equal((await payloads()).at(-1), n));
    };
    await anew(() => broker.channel.deleteQueue(broker.queue), 1);
    // An acknowledgement of what was never delivered, on channel 1: RabbitMQ closes the channel with 406.
    const ack = '0100010000000d003c005000000000000fffff00ce';
    await anew(() => wire.inject(Buffer.from(ack, 'hex')), 2);
    await anew(() => wire.cut(), 3);
    assert.deepEqual(await payloads(), [1, 2, 3]);
    await allAcked();
  });

  test('a session that ended leaves nothing at the process', async (t) => {
    const wire = await startWire(rabbitmqUrl);
    t.after(wire.close);
    const { signal } = new AbortController();
    const opened = Promise.withResolvers<void>();
    const config = { ...broker.config, url: wire.url };
    const parts = { config, db, log: silent, sealer: undefined, ledger: new Ledger(db) };
    const session = runSession(parts, { opened: opened.resolve, took() {} }, signal);
    await opened.promise;
    await eventually(() => assert.equal(getEventListeners(signal, 'abort').length, 1));
    wire.cut();
    await assert.rejects(session);
    await eventually(() => assert.equal(getEventListeners(signal, 'abort').length, 0));
  });

  test('dead letters are published once each, and again if they fail again', async () => {
    await db.query(`select create_queue($1, batch_size => 1, max_retries => 0, backoff_ms => 0)`, [broker.exchange]);
    await db.query(
      `insert into jobs (queue, kind, payload)
       select $1, 'x', jsonb_build_object('n', n) from generate_series(1, 120) n`,
      [broker.exchange],
    );
    await db.query(`update jobs set status = 'failed', error_code = 'x_wrong', error = 'it was' where queue = $1`, [
      broker.exchange,
    ]);
    const app = { db, log: silent, config: { secrets: [] } as never };
    bridges.push(startDead(app, broker.config), startDead(app, broker.config));
    const dead = `${broker.exchange}.dead`;
    await eventually(async () => assert.equal((await db.query('select from bridge_dead')).rowCount, 120));
    await db.query(`update jobs set status = 'pending' where queue = $1 and payload = '{"n": 7}'`, [broker.exchange]);
    await db.query(`update jobs set status = 'failed' where queue = $1 and status = 'pending'`, [broker.exchange]);
    const got: { n: number; id: string; headers: Record<string, unknown> }[] = [];
    await eventually(async () => {
      for (let message = await broker.channel.get(dead); message; message = await broker.channel.get(dead)) {
        const { messageId, headers } = message.properties;
        got.push({ ...JSON.parse(message.content.toString()), id: messageId, headers });
        broker.channel.ack(message);
      }
      assert.equal(got.length, 121);
    });
    assert.equal(new Set(got.map(({ id }) => id)).size, 120);
    assert.deepEqual(
      got
        .map(({ n }) => n)
        .toSorted((a, b) => a - b)
        .slice(5, 9),
      [6, 7, 7, 8],
    );
    assert.deepEqual(
      [got[0]!.headers['x-rowmill-error-code'], got[0]!.headers['x-first-death-queue']],
      ['x_wrong', broker.exchange],
    );
    await broker.channel.deleteQueue(dead);
  });

  test('the doctor shows queues and consumers, and which kinds no queue is bound to', async () => {
    const registry = new Map([['media.image'], ['media.video'], ['other.x']].map(([name]) => [name, {}])) as never;
    const queues = [{ name: broker.queue, keys: ['media.*'] }];
    const doctor = () => checkRabbitmq(db.url, registry, { ...broker.config, queues });
    const told = async () => (await doctor()).map(({ state, detail }) => `${state}: ${detail}`).join('; ');
    assert.match(await told(), /warn: the exchange test_\w+, the queue test_\S+ does not exist yet/);
    await start({ queues });
    assert.match(await told(), /^ok: exchange \S+\n\S+: 0 ready, 1 consumer; warn: no queue is bound to other\.x: /);
    const [refused] = await checkRabbitmq(db.url, registry, { ...broker.config, url: 'amqp://x:secret@127.0.0.1:1' });
    assert.match(`${refused!.state}: ${refused!.detail}`, /^fail: 127\.0\.0\.1:1: .*ECONNREFUSED/);
  });

  test('while Postgres is away the bridge takes nothing, and goes on when it is back', async () => {
    const bridge = await start({ queueType: 'quorum' });
    await broker.publish([{ key: 'media.image', body: { n: 0 } }]);
    await eventually(async () => assert.deepEqual(await payloads(), [0]));
    const admin = createClient(databaseUrl());
    await admin.connect();
    const name = new URL(db.url).pathname.slice(1);
    await admin.query(`alter database ${name} allow_connections false`);
    await admin.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = $1`, [name]);
    await broker.publish(numbered(300));
    await eventually(() => assert.equal(bridge.state().connected, false));
    // It stays away: RabbitMQ counts how often it delivers a message.
    await eventually(async () => {
      const { messageCount, consumerCount } = await broker.channel.checkQueue(broker.queue);
      assert.deepEqual([messageCount, consumerCount], [300, 0]);
    });
    await admin.query(`alter database ${name} allow_connections true`);
    await admin.end();
    await eventually(async () => assert.equal((await jobs()).length, 301));
    await allAcked();
  });
});

test('a broker that is not there: the state says why, and it stops at once', async () => {
  const app = { db: { query: async () => ({ rows: [] }) } as never, log: silent, config: { secrets: [] } as never };
  const config = { url: 'amqp://127.0.0.1:1', exchange: 'x', queues: [], queueType: undefined } as never;
  const bridge = startRabbitmq(app, config);
  await eventually(() => assert.equal(bridge.state().code, 'ECONNREFUSED'));
  assert.equal(bridge.state().connected, false);
  await bridge.stop();
});

/**
 * The frames of a message to publish on channel 1. amqplib does not write headers of more than 64 KiB, RabbitMQ takes
 * 128: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5 and 4.2.6
 */
function withLongHeader(exchange: string, key: string, length: number): Buffer {
  const short = (text: string) => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
  const sized = (bytes: Buffer) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(bytes.length);
    return Buffer.concat([size, bytes]);
  };
  const frame = (type: number, payload: Buffer) =>
    Buffer.concat([Buffer.from([type, 0, 1]), sized(payload), Buffer.from([0xce])]);
  const field = (name: string, text: string) =>
    Buffer.concat([short(name), Buffer.from('S'), sized(Buffer.from(text))]);
  const body = Buffer.from('{}');
  const method = Buffer.concat([Buffer.from([0, 60, 0, 40, 0, 0]), short(exchange), short(key), Buffer.from([0])]);
  // Class 60, weight 0, eight bytes of the body's size, and the flag of the headers.
  const start = Buffer.from([0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, body.length, 0x20, 0]);
  const headers = sized(Buffer.concat([field('note', 'n'.repeat(length)), field('priority', 'high')]));
  return Buffer.concat([frame(1, method), frame(2, Buffer.concat([start, headers])), frame(3, body)]);
}
