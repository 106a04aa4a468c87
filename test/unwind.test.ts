import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, suite, test } from 'node:test';
import { loadConfig } from '../worker/base/config/config.ts';
import { startService } from '../worker/main.ts';
import { createDatabase, type TestDatabase } from './support/database.ts';
import { eventually } from './support/eventually.ts';
import { silent } from './support/log.ts';

// A start that fails, at whichever step, closes what it has opened.

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'unwind-'));
});
after(() => rm(dir, { recursive: true }));

const configOf = (env: Record<string, string>) =>
  loadConfig({ DATA_DIR: dir, PORT: '0', QUEUES: 'publish', SHUTDOWN_TIMEOUT: '1000', NODE_ENV: 'test', ...env });

suite('on a Postgres that is there', () => {
  let db: TestDatabase;
  beforeEach(async () => {
    db = await createDatabase();
  });

  /** No session, no listening port, and no row in `workers` is left. */
  async function leavesNothing(env: Record<string, string>, refusal: RegExp | object, signal?: AbortSignal) {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length;
    const listening = timers();
    try {
      await assert.rejects(startService(configOf({ DATABASE_URL: db.url, ...env }), silent, signal), refusal);
      assert.equal(timers(), listening);
      await nothingIsOpen();
    } finally {
      await db.drop();
    }
  }

  const nothingIsOpen = () =>
    eventually(async () => {
      const { rows } = await db.query(
        `select application_name, query from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
      );
      assert.deepEqual(rows, []);
      assert.equal((await db.query('select from workers')).rowCount, 0);
    });

  test('the kinds cannot be loaded', async () => {
    await leavesNothing({ JOBS_DIR: join(dir, 'no-such-folder') }, /no-such-folder/);
  });

  test('a migration fails', async () => {
    const migrations = join(dir, 'migrations');
    await mkdir(migrations, { recursive: true });
    await writeFile(join(migrations, '0001_broken.sql'), 'select no_such_column;');
    await leavesNothing({ MIGRATIONS_DIR: migrations }, /no_such_column/);
  });

  test('there is no such queue', async () => {
    await leavesNothing({ QUEUES: 'no_such_queue' }, /QUEUES: there is no queue no_such_queue/);
  });

  test('the worker cannot join the fleet', async () => {
    await db.query('alter table workers add constraint full_house check (false)');
    await leavesNothing({}, /full_house/);
  });

  test('the worker has joined, and cannot read the queues any more', async () => {
    await db.query(`
      create function rename() returns trigger language plpgsql as
        'begin alter table queues rename column paused to rests; return null; end';
      create trigger rename after insert on workers execute function rename()`);
    await leavesNothing({}, /paused/);
  });

  test('the port is taken', async (t) => {
    const taken = createServer();
    await once(taken.listen(0, '127.0.0.1'), 'listening');
    t.after(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    await leavesNothing({ PORT: String(port), HOST: '127.0.0.1' }, /Port \d+ on 127\.0\.0\.1 is taken/);
  });

  test('it is given up while the worker joins the fleet, and the worker comes up after that', async () => {
    const stop = new AbortController();
    const holder = await db.connect();
    await holder.query('begin; lock table workers');
    const started = startService(configOf({ DATABASE_URL: db.url }), silent, stop.signal);
    await eventually(async () => {
      const { rows } = await db.query(
        `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
      );
      assert.ok(rows.length > 0);
    });
    stop.abort(new Error('given up'));
    await assert.rejects(started, /given up/);
    await holder.query('commit');
    holder.release(true);
    await nothingIsOpen();
    await db.drop();
  });
});

test('the embedded Postgres is stopped when a later step fails', async () => {
  const dataDir = join(dir, 'embedded');
  await assert.rejects(startService(configOf({ DATA_DIR: dataDir, QUEUES: 'no_such_queue' }), silent), /no_such_queue/);
  await assert.rejects(stat(join(dataDir, 'postgres', 'postmaster.pid')), { code: 'ENOENT' });
  assert.ok((await stat(join(dataDir, 'postgres'))).isDirectory());
});

test('a start that is given up before its first step opens nothing', async () => {
  const given = AbortSignal.abort(new Error('given up'));
  await assert.rejects(startService(configOf({ DATA_DIR: join(dir, 'none') }), silent, given), /given up/);
  await assert.rejects(stat(join(dir, 'none')), { code: 'ENOENT' });
});

test('a start that is given up while a connection breaks says that it was given up', async (t) => {
  const stop = new AbortController();
  const server = createServer((socket) => {
    stop.abort(new Error('given up'));
    socket.destroy();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  const url = `postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/db`;
  await assert.rejects(startService(configOf({ DATABASE_URL: url }), silent, stop.signal), /given up/);
});
