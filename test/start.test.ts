import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { createClient } from '../worker/base/db/db.ts';
import { waitForPostgres } from '../worker/base/db/reach.ts';
import { rowmillStarted } from './support/cli.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { eventually } from './support/eventually.ts';
import { add, reads } from './support/jobs.ts';
import { silent } from './support/log.ts';
import { spawnWorker } from './support/processes.ts';

// How a worker comes up beside a Postgres that is not there yet, and how it ends at any moment of that.

let db: TestDatabase;
let dir: string;
before(async () => {
  db = await createDatabase();
  dir = await mkdtemp(join(tmpdir(), 'start-'));
});
after(async () => {
  await db.drop();
  await rm(dir, { recursive: true });
});
const { signal } = new AbortController();

/** Refuses so many connections as a server that is starting does, and then leads to the real one. */
async function startingServer(refusals: number): Promise<{ url: string; close: () => void }> {
  const real = new URL(db.url);
  const words = Buffer.from('SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0');
  const head = Buffer.from([69, 0, 0, 0, words.length + 4]);
  let left = refusals;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (left-- > 0) return void socket.once('data', () => socket.end(Buffer.concat([head, words])));
    const upstream = connect(Number(real.port), real.hostname);
    upstream.on('error', () => {});
    return void socket.pipe(upstream).pipe(socket);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(db.url);
  url.port = String((server.address() as AddressInfo).port);
  return { url: url.href, close: () => server.close() };
}

suite('a Postgres that', () => {
  test('is starting is waited for', async (t) => {
    const { url, close } = await startingServer(2);
    t.after(close);
    await waitForPostgres(url, { log: silent, signal });
  });

  test('does not come up in time is an error', async (t) => {
    const { url, close } = await startingServer(Infinity);
    t.after(close);
    await assert.rejects(waitForPostgres(url, { log: silent, signal, patienceMs: 1_000 }), { code: '57P03' });
  });

  test('refuses us for good is not waited for', async () => {
    const wrong = new URL(db.url);
    wrong.password = 'wrong';
    await assert.rejects(waitForPostgres(wrong.href, { log: silent, signal }), { code: '28P01' });
  });
});

suite('SIGTERM is heeded', () => {
  async function terminated(databaseUrl: string, reached: () => Promise<void>): Promise<void> {
    const { child, ended } = rowmillStarted(['start'], {
      env: { DATABASE_URL: databaseUrl, DATA_DIR: dir, PORT: '0' },
    });
    child.stdout.resume();
    await reached();
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  }

  test('while Postgres is waited for', async (t) => {
    let asked = 0;
    const server = createServer((socket) => {
      asked++;
      socket.destroy();
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.after(() => server.close());
    const url = `postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/db`;
    await terminated(url, () => eventually(() => assert.ok(asked > 0), 30_000));
  });

  test('while a migration waits for its lock', async (t) => {
    const empty = await createDatabase({ from: 'template0' });
    const holder = createClient(empty.url);
    await holder.connect();
    t.after(async () => {
      await holder.end();
      await empty.drop();
    });
    await holder.query('begin; create table rowmill_migrations (name text primary key)');
    const waits = `select from pg_stat_activity where datname = $1 and wait_event_type = 'Lock'`;
    const name = new URL(empty.url).pathname.slice(1);
    await terminated(empty.url, () =>
      eventually(async () => assert.ok((await db.query(waits, [name])).rows.length > 0), 30_000),
    );
    const { rows } = await holder.query(`select from pg_class where relname = 'jobs'`);
    assert.deepEqual(rows, []);
  });
});

test('an uncaught exception fails the job whose handler threw it, and ends the process in order', async (t) => {
  await db.query(`update queues set backoff_ms = 60000 where name = 'media'`);
  const worker = await spawnWorker(db.url, { WORKER_CONCURRENCY: '2', SHUTDOWN_TIMEOUT: '20000' });
  t.after(() => worker.end('SIGKILL'));
  const neighbour = await add(db, 'media', 'slow', { payload: { ms: 1_500 } });
  await reads(db, neighbour, { status: 'processing' });
  const culprit = await add(db, 'media', 'throw_later');
  const ended = once(worker.child, 'exit');

  const failed = await reads(db, culprit, { status: 'pending', retry_count: 1, error_code: 'uncaught_exception' });
  assert.match(failed['error'], /thrown later/);
  assert.deepEqual(await ended, [1, null]);
  await reads(db, neighbour, { status: 'completed', attempt: 1 });
});
