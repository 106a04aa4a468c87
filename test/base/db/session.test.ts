import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, createPool, isTransient, isUnsent, transaction, type Db } from '../../../worker/base/db/db.ts';
import { query } from '../../../worker/base/db/sql.ts';
import { judge } from '../../../worker/queue/run/outcome.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { slow } from '../../support/everything.ts';
import { hostile, makeHostile } from '../../support/hostile.ts';
import { silent } from '../../support/log.ts';

// A session has our settings, whatever the role and the database say, and is never used again once it is broken.

let db: TestDatabase;
before(async () => {
  db = await createDatabase();
});
after(() => db.drop());

async function withPool(work: (pool: Db) => Promise<void>, options = {}): Promise<void> {
  const pool = createPool(db.url, { max: 1, log: silent, ...options });
  try {
    await work(pool);
  } finally {
    await pool.end();
  }
}

const pidOf = async (on: Pick<Db, 'query'>) => (await on.query('select pg_backend_pid() as pid')).rows[0].pid as number;
const kill = (pid: number) => db.query('select pg_terminate_backend($1)', [pid]);

test('what a database sets against us does not reach a session of ours', async (t) => {
  const other = await createDatabase();
  const names = Object.keys(hostile);
  const read = `select name, current_setting(name) as value from unnest($1::text[]) name`;
  const { rows: usual } = await other.query(read, [names]);
  await other.query(makeHostile(new URL(other.url).pathname.slice(1)));
  const client = createClient(other.url);
  await client.connect();
  const pool = createPool(other.url, { max: 1, log: silent });
  t.after(async () => {
    await Promise.all([client.end(), pool.end()]);
    await other.drop();
  });
  for (const session of [client, pool]) {
    const { rows } = await session.query(read, [names]);
    assert.deepEqual(rows, usual);
    const { rows: values } = await session.query(`select timestamptz '2026-03-04 05:06:07+00' as at`);
    assert.equal(values[0].at.toISOString(), '2026-03-04T05:06:07.000Z');
  }
});

suite('a broken connection is not given back to its pool', () => {
  test('one that was told that the server is read-only', () =>
    withPool(async (pool) => {
      const client = await pool.connect();
      const pid = await pidOf(client);
      await client.query('begin read only');
      await assert.rejects(client.query('create table never ()'), { code: '25006' });
      client.release();
      assert.notEqual(await pidOf(pool), pid);
    }));

  test('one whose statement got no answer in time, in the hands of whoever holds it', () =>
    withPool(
      async (pool) => {
        const client = await pool.connect();
        const pid = await pidOf(client);
        const error: unknown = await client.query('select pg_sleep(20)').catch((thrown: unknown) => thrown);
        assert.match(String(error), /Query read timeout/);
        assert.ok(isTransient(error));
        client.release();
        assert.notEqual(await pidOf(pool), pid);
      },
      { queryTimeoutMs: 200 },
    ));

  test('one on which a prepared statement is stale, and the statement is made again', () =>
    withPool(async (pool) => {
      await db.query('create table changing (a int)');
      const all = { name: 'all', params: [], text: 'select * from changing', prepared: 'all_1' };
      await query(pool, all);
      await db.query('alter table changing alter a type bigint');
      assert.deepEqual(await query(pool, all), []);
      await query(pool, all);
      await db.query('alter table changing alter a type text');
      // In a transaction it is the transaction that is made again.
      const error: unknown = await transaction(pool, (tx) => query(tx, all)).catch((thrown: unknown) => thrown);
      assert.ok(isTransient(error));
      await transaction(pool, (tx) => query(tx, all));
    }));
});

test('a transaction whose session is ended is told at once, whatever it waits for', () =>
  withPool(async (pool) => {
    const never = Promise.withResolvers<void>();
    const lost = transaction(pool, async (tx) => {
      await kill(await pidOf(tx));
      await never.promise;
    });
    const error: unknown = await lost.catch((thrown: unknown) => thrown);
    assert.ok(isTransient(error), String(error));
  }));

suite('where there is no connection', () => {
  test('no statement was sent, and no attempt is at fault', async () => {
    const gone = new URL(db.url);
    gone.port = '1';
    const refused = createPool(gone.href, { max: 1, log: silent });
    await noFault(() => refused.query('select 1'));
    await refused.end();
    await withPool(async (pool) => {
      const held = await pool.connect();
      await noFault(() => pool.query('select 1'));
      held.release();
    });
  });

  test('because a pooler is full, which it says in its own words', async (t) => {
    const words = 'MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size';
    const url = await refusing(t, 'XX000', words);
    const pool = createPool(url, { max: 1, log: silent });
    const error = await noFault(() => pool.query('select 1'));
    assert.ok(isTransient(error));
    await pool.end();
  });

  test('an error of a statement is an attempt’s', async () => {
    const error: unknown = await db.query('select 1/0').catch((thrown: unknown) => thrown);
    assert.ok(!isUnsent(error));
    assert.equal(judge(error, undefined).outcome, 'retry');
    const others = new Error('timeout exceeded while waiting for the far side');
    assert.equal(judge(others, undefined).outcome, 'retry');
    others.cause = new Error('caused by what it caused', { cause: others });
    assert.equal(judge(others, undefined).outcome, 'retry');
  });
});

async function noFault(work: () => Promise<unknown>): Promise<unknown> {
  const error: unknown = await work().then(
    () => assert.fail('it was answered'),
    (thrown: unknown) => thrown,
  );
  assert.ok(isUnsent(error), String(error));
  assert.equal(judge(error, undefined).outcome, 'snooze');
  return error;
}

/** A server that refuses each connection with a code and words. */
async function refusing(t: { after: (work: () => void) => void }, code: string, words: string): Promise<string> {
  const body = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${words}\0\0`);
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(body.length + 4, 1);
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end(Buffer.concat([head, body])));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return `postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/db`;
}

slow('a server that accepts connections and says nothing keeps no caller and no place of a pool', async (t) => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const pool = createPool(`postgres://127.0.0.1:${(server.address() as AddressInfo).port}/x`, { max: 1, log: silent });
  const refused = (error: unknown) => isTransient(error) && isUnsent(error);
  const asking = assert.rejects(pool.query('select 1'), refused);
  // Both limits, of the pool and of the session, have passed when the event loop comes to them, as on a busy machine.
  await sleep(4_500);
  for (const until = performance.now() + 1_000; performance.now() < until;);
  await asking;
  assert.equal(pool.totalCount, 0);
  await pool.end();
});

test('ending a connection whose other end is frozen takes two seconds', async (t) => {
  const sockets: { destroy(): void }[] = [];
  const upstream = new URL(db.url);
  let frozen = false;
  const proxy = createServer({ allowHalfOpen: true }, (socket) => {
    const server = connect(Number(upstream.port), upstream.hostname);
    sockets.push(socket, server);
    socket.on('error', () => {}).on('data', (bytes) => frozen || server.write(bytes));
    server.on('error', () => {}).on('data', (bytes) => frozen || socket.write(bytes));
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const through = new URL(db.url);
  through.port = String((proxy.address() as AddressInfo).port);
  const client = createClient(through.href);
  await client.connect();
  frozen = true;
  const ended = Promise.race([client.end().then(() => true), sleep(8_000, false)]);
  assert.ok(await ended);
});
