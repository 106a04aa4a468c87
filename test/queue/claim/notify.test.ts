import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createUncommitted } from '../../../worker/queue/claim/uncommitted.ts';
import { Waking } from '../../../worker/queue/claim/waking.ts';
import { createClient, createPool, type Client, type Db } from '../../../worker/base/db/db.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';
import { spawnWorker } from '../../support/processes.ts';
import { startOwnServer } from '../../support/server.ts';
import { createRig } from '../../support/worker.ts';

// Who is notified of an insert, and who finds the job otherwise. The worker's own poll, once a minute, would hide it.

const seldom = { WORKER_POLL_INTERVAL: '60000' };
const quick = {
  many: { notifications: 5, some: 3, withinMs: 1_000 },
  patienceMs: { least: 200, most: 400 },
  tooSoonMs: 200,
};
let db: TestDatabase;
let listener: Client;
let heard: string[] = [];

before(async () => {
  db = await createDatabase();
  listener = createClient(db.url);
  await listener.connect();
  listener.on('notification', ({ payload = '' }) => heard.push(payload.split(' ').slice(0, 3).join(' ')));
  await listener.query('listen rowmill_workers');
});
after(async () => {
  await listener.end();
  await db.drop();
});

/** What was notified by the work. */
async function told(work: () => Promise<unknown>): Promise<string[]> {
  heard = [];
  await work();
  // Notifications come in the order of the commits.
  const last = `last ${Math.random()}`;
  await db.query(`select pg_notify('rowmill_workers', $1)`, [last]);
  await eventually(() => assert.equal(heard.at(-1), last));
  return heard.slice(0, -1);
}

/** Inserts a job in a transaction of this level, behind statements of its own. */
async function insertAt(level: string, ...first: string[]): Promise<void> {
  const client = await db.connect();
  await client.query(`begin isolation level ${level}`);
  for (const statement of first) await client.query(statement);
  await add(client, 'media', 'any');
  await client.query('commit');
  client.release();
}

const twoJobs = `insert into jobs (queue, kind) values ('media', 'any'), ('social', 'any')`;
const soon = `insert into jobs (queue, kind, run_at) values ('media', 'any', now() + interval '1 second')`;

test('an insert sends no notification unless a worker wants it', async () => {
  assert.deepEqual(await told(() => add(db, 'media', 'any')), []);
  assert.deepEqual(await told(() => db.query(twoJobs)), []);
  assert.deepEqual(await told(() => db.query(soon)), []);
  await db.query(
    `insert into workers (id, host, pid, version, queues, notify)
     values (gen_random_uuid(), 'here', 1, '0', '{media,social}', '{media}'),
            (gen_random_uuid(), 'here', 1, '0', '{media}', '{}')`,
  );
  assert.deepEqual(await told(() => add(db, 'media', 'any')), ['due media 1']);
  assert.deepEqual(await told(() => db.query(twoJobs)), ['due media 1']);
  assert.deepEqual(await told(() => db.query(soon)), ['soon media']);
  assert.deepEqual(await told(() => add(db, 'social', 'any')), []);
  assert.deepEqual(await told(() => insertAt('read committed', 'savepoint one')), ['due media 1']);
  await db.query('delete from workers');
});

test('a transaction that may read an old snapshot always sends one', async () => {
  for (const level of ['read uncommitted', 'read committed']) assert.deepEqual(await told(() => insertAt(level)), []);
  for (const level of ['repeatable read', 'serializable'])
    assert.deepEqual(await told(() => insertAt(level)), ['due media 1']);
});

test('the first insert into a queue keeps no other waiting', async () => {
  const client = await db.connect();
  await client.query('begin');
  await add(client, 'analytics', 'any');
  await db.query(`set local lock_timeout = '5s'; insert into analytics_jobs (kind) values ('any')`);
  await client.query('rollback');
  client.release();
});

test('a transaction is followed to its end though no snapshot lists it yet', async () => {
  const woken: string[] = [];
  const stopping = new AbortController();
  const uncommitted = createUncommitted(db, (queue) => woken.push(queue), stopping.signal);
  const [earlier, inserting] = [await db.connect(), await db.connect()];
  for (const client of [earlier, inserting]) await client.query('begin; select pg_current_xact_id()');
  // The snapshot's xmax is beyond this one, and not beyond the other.
  await earlier.query('commit');
  await uncommitted.watch('media');
  await sleep(100);
  assert.deepEqual(woken, []);
  await inserting.query('commit');
  await eventually(() => assert.deepEqual(woken, ['media']));
  stopping.abort();
  earlier.release();
  inserting.release();
});

test('a worker polls while there are many jobs, and wants to be notified when there are none', async () => {
  const rig = await createRig();
  try {
    await rig.worker({ 'media.any': async () => null }, { QUEUES: 'media', ...seldom }, { timing: quick });
    await eventually(async () => assert.deepEqual(await wanted(rig.db), ['media']));
    await eventually(async () => {
      await Promise.all(Array.from({ length: 20 }, () => add(rig.db, 'media', 'any')));
      assert.deepEqual(await wanted(rig.db), []);
    });
    await reads(rig.db, await add(rig.db, 'media', 'any'), { status: 'completed' });
    await eventually(async () => assert.deepEqual(await wanted(rig.db), ['media']));
    await reads(rig.db, await add(rig.db, 'media', 'any'), { status: 'completed' });

    // Its session is lost, and so is what it wrote into its row: as when an asynchronous commit does not survive a
    // crash.
    await rig.db.query(
      `with forgotten as (update workers set notify = '{}' returning id)
       select pg_terminate_backend(pid) from pg_stat_activity
        where pid in
              (select l.pid from pg_locks l, forgotten f
                where l.locktype = 'advisory'
                  and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(f.id::text, 0))`,
    );
    await eventually(async () => assert.deepEqual(await wanted(rig.db), ['media']));
    await reads(rig.db, await add(rig.db, 'media', 'any'), { status: 'completed' });
  } finally {
    await rig.close();
  }
});

test('a worker wants to be notified while there are few jobs, also if it started or polled among them', async () => {
  const rig = await createRig();
  const timing = {
    many: { notifications: 20, some: 20, withinMs: 500 },
    patienceMs: { least: 1_000, most: 1_000 },
    tooSoonMs: 0,
  };
  let done = false;
  const few = (async () => {
    // One comes before its patience ends, and they are not many.
    while (!done) {
      await add(rig.db, 'media', 'any');
      await sleep(50);
    }
  })();
  try {
    await rig.worker({ 'media.any': async () => null }, { QUEUES: 'media', ...seldom }, { timing });
    await eventually(async () => assert.deepEqual(await wanted(rig.db), ['media']));
    await eventually(async () => {
      await Promise.all(Array.from({ length: 100 }, () => add(rig.db, 'media', 'any')));
      assert.deepEqual(await wanted(rig.db), []);
    });
    await eventually(async () => assert.deepEqual(await wanted(rig.db), ['media']));
  } finally {
    done = true;
    await few;
    await rig.close();
  }
});

test('a worker that hears many notifications while it asks to be notified polls on, until it stops', async () => {
  const { rows } = await db.query<{ id: string }>(
    `insert into workers (id, host, pid, version, queues) values (gen_random_uuid(), 'here', 1, '0', '{media}')
     returning id`,
  );
  const stopping = new AbortController();
  const asked = Promise.withResolvers<void>();
  const uncommitted = createUncommitted(db, () => {}, stopping.signal);
  let [empty, polls, caughtUp] = [true, 0, 0];
  const waking: Waking = new Waking({
    queue: 'media',
    db,
    log: silent,
    worker: () => rows[0]!.id,
    poll() {
      polls++;
      if (empty) waking.exhausted();
      else waking.found();
    },
    catchUp: () => caughtUp++,
    uncommitted: { watch: (queue) => uncommitted.watch(queue).then(asked.resolve) },
    timing: { ...quick, patienceMs: { least: 10, most: 10 } },
  });
  const other = await db.connect();
  try {
    await other.query('begin; select from workers for update');
    waking.start();
    await eventually(async () => assert.equal(await blockedUpdates(), 1));
    empty = false;
    for (let n = 0; n < quick.many.notifications; n++) waking.heard();
    await other.query('commit');
    await asked.promise;
    await eventually(async () => assert.deepEqual(await wanted(db), []));
    assert.equal(caughtUp, 0);
    const polledThen = polls;
    await eventually(() => assert.ok(polls > polledThen, 'it polls'), 2_000);

    // Whatever it hears when its runner has stopped: a process that ends would go on for ever.
    waking.stop();
    const polledLast = polls;
    for (let n = 0; n < quick.many.notifications; n++) waking.heard();
    await sleep(100);
    assert.equal(polls, polledLast, 'it stopped polling');
  } finally {
    waking.stop();
    stopping.abort();
    other.release(true);
    await db.query('delete from workers');
  }
});

test('a worker polls where the commits of many producers wait for one another, though there are few', async (t) => {
  // As on a slow disk: 20 ms for each commit.
  const server = await startOwnServer(['fsync = on', 'commit_delay = 20000', 'commit_siblings = 0']);
  t.after(() => server.close());
  const own = createPool(server.url, { max: 9, log: silent });
  const rig = await createRig();
  try {
    const timing = { ...quick, many: { notifications: 1_000, some: 10, withinMs: 500 } };
    await rig.worker({ 'media.any': async () => null }, { QUEUES: 'media', ...seldom }, { url: server.url, timing });
    await eventually(async () => assert.deepEqual(await wanted(own), ['media']));
    let done = false;
    const producers = Array.from({ length: 8 }, async () => {
      while (!done) await add(own, 'media', 'any');
    });
    await eventually(async () => assert.deepEqual(await wanted(own), [])).finally(() => (done = true));
    await Promise.all(producers);
    await eventually(async () => assert.deepEqual(await wanted(own), ['media']));
  } finally {
    await rig.close();
    await own.end();
  }
});

test('a worker that is killed while it polls leaves nothing to be found later', async (t) => {
  const other = await createDatabase();
  t.after(() => other.drop());
  const workers = [await spawnWorker(other.url, seldom), await spawnWorker(other.url, seldom)];
  t.after(() => Promise.all(workers.map((worker) => worker.end('SIGKILL'))));
  await insertUntilNobodyWants(other);
  await workers[0]!.end('SIGKILL');
  for (let n = 0; n < 20; n++) {
    await reads(other, await add(other, 'media', 'slow'), { status: 'completed' });
    await sleep(Math.random() * 100);
  }
});

test('a job of a prepared transaction starts when that is committed', async (t) => {
  const server = await startOwnServer(['max_prepared_transactions = 3']);
  t.after(() => server.close());
  const own = createPool(server.url, { max: 3, log: silent });
  const rig = await createRig();
  try {
    const client = await own.connect();
    await client.query('begin');
    const id = await add(client, 'media', 'any');
    // Postgres prepares no transaction that has sent a NOTIFY: there is no worker yet.
    await client.query(`prepare transaction 'held'`);
    client.release();
    await rig.worker(
      { 'media.any': async () => null },
      { QUEUES: 'media', ...seldom },
      { url: server.url, timing: quick },
    );
    await eventually(async () => assert.deepEqual(await wanted(own), ['media']));
    await own.query(`commit prepared 'held'`);
    await reads(own, id, { status: 'completed' });
  } finally {
    await rig.close();
    await own.end();
  }
});

/** Changes of what a worker wants that are held up. */
async function blockedUpdates(): Promise<number | null> {
  const { rowCount } = await db.query(
    `select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and query like 'update workers set notify%'`,
  );
  return rowCount;
}

/** The queues of which any worker wants to be notified. */
async function wanted(on: Db): Promise<string[]> {
  const { rows } = await on.query<{ queue: string }>('select distinct unnest(notify) as queue from workers');
  return rows.map(({ queue }) => queue);
}

/** Inserts jobs until all workers poll. */
async function insertUntilNobodyWants(on: Db): Promise<void> {
  await eventually(async () => {
    const some = async () => {
      for (let n = 0; n < 20; n++) await add(on, 'media', 'slow');
    };
    await Promise.all([some(), some(), some(), some()]);
    assert.deepEqual(await wanted(on), []);
  });
}
