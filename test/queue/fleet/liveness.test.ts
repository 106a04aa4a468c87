import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { queueNames } from '../../../worker/queue/client/operate.ts';
import { createClient } from '../../../worker/base/db/db.ts';
import { query } from '../../../worker/base/db/sql.ts';
import { createDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { add, reads, rows } from '../../support/jobs.ts';
import { spawnWorker, type WorkerProcess } from '../../support/processes.ts';
import { quietNow } from '../../support/quiet-time.ts';
import { statementOf } from '../../support/statement.ts';

// Real processes, killed, frozen, cut off and stopped.

let db: TestDatabase;
let workers: WorkerProcess[] = [];
const spawn = async (env?: Record<string, string>) => {
  const worker = await spawnWorker(db.url, env);
  workers.push(worker);
  return worker;
};

const longDead = '00000000-0000-4000-8000-00000000dead';

beforeEach(async () => {
  db = await createDatabase();
  await db.query(`create table effects (job_id bigint, name text)`);
  await db.query(`update queues set backoff_ms = 50`);
});
afterEach(async () => {
  for (const worker of workers) worker.child.kill('SIGCONT');
  await Promise.all(workers.map((worker) => worker.end('SIGKILL')));
  workers = [];
  await db.drop();
});

test('the jobs of a killed worker are retried by another within seconds, as worker_lost', async () => {
  // A job that lost its worker the first time does not wait for its backoff.
  await db.query(`update queues set backoff_ms = 60000`);
  const doomed = await spawn();
  const ids = await Promise.all([1, 2].map(() => add(db, 'media', 'slow', { payload: { ms: 60_000 } })));
  for (const id of ids) await reads(db, id, { status: 'processing', locked_by: doomed.id });
  // Of a worker that also served a queue which was dropped since. And a row of queues that no table goes with is
  // nobody's.
  await db.query(`
    insert into queues (name, max_retries, backoff_ms) values ('ghost', 0, 0);
    insert into workers (id, host, pid, version, queues, heartbeat_at)
      values ('${longDead}', 'there', 1, '0', '{dropped,media}', '-infinity')`);
  ids.push(await add(db, 'media', 'slow', { payload: { ms: 60_000 } }));
  await db.query(
    `update jobs set status = 'processing', locked_by = $2, attempt = 1, started_at = now() where id = $1`,
    [ids.at(-1), longDead],
  );
  assert.ok(!(await queueNames(db)).includes('ghost'));
  const heir = await spawn({ WORKER_CONCURRENCY: '3' });
  await doomed.end('SIGKILL');
  for (const id of ids) {
    const row = await reads(db, id, { status: 'processing', locked_by: heir.id, error_code: 'worker_lost' }, 10_000);
    assert.deepEqual([row['attempt'], row['retry_count']], [2, 1]);
  }
  assert.equal((await db.query(`select from workers`)).rowCount, 1);
});

test('a job that kills its worker each time ends as a dead letter', async () => {
  const id = await add(db, 'media', 'abort', { max_retries: 1 });
  for (let lives = 0; lives < 2; lives++) {
    const worker = await spawn();
    await eventually(() => assert.notEqual(worker.child.signalCode, null), 15_000);
  }
  await spawn();
  await reads(db, id, { status: 'failed', attempt: 2, retry_count: 1, error_code: 'worker_lost' }, 15_000);
  // The charts count what the dead could not tell.
  const { rows: rollups } = await db.query(
    `select retried, failed from job_rollups where minutes = 15 and kind = 'abort' order by at`,
  );
  const sum = (name: 'retried' | 'failed') => rollups.reduce((total, row) => total + row[name], 0);
  assert.deepEqual([sum('retried'), sum('failed')], [1, 1]);
});

slow('a worker that froze is reaped; when it wakes it changes nothing and starts over', async () => {
  const times = { WORKER_DEAD_AFTER: '1000', HEARTBEAT_INTERVAL: '200', SWEEP_INTERVAL: '200' };
  const frozen = await spawn(times);
  const id = await add(db, 'media', 'late_commit', { payload: { ms: 4_000, name: 'effect' } });
  await reads(db, id, { status: 'processing', locked_by: frozen.id });
  frozen.child.kill('SIGSTOP');
  // As if the clock were set back meanwhile.
  await db.query(`update workers set heartbeat_at = heartbeat_at + interval '1 hour'`);
  const other = await spawn(times);
  await reads(db, id, { status: 'processing', locked_by: other.id, attempt: 2, error_code: 'worker_lost' }, 15_000);
  frozen.child.kill('SIGCONT');
  await reads(db, id, { status: 'completed', attempt: 2, result: { pid: other.child.pid } });
  await sleep(1_000);
  assert.equal((await db.query(`select from effects`)).rowCount, 1);
  await eventually(async () => {
    const { id: now, trouble } = await frozen.ask();
    assert.notEqual(now, frozen.id);
    assert.equal(trouble, null);
  });
  await other.end('SIGTERM');
  const next = await add(db, 'media', 'slow');
  await reads(db, next, { status: 'completed', result: { pid: frozen.child.pid } });
});

test('a worker whose lock a session of another role has taken starts over under another id', async (t) => {
  const stranger = `stranger_${randomUUID().slice(0, 8)}`;
  await db.query(`create role ${stranger} login password 'sesame'`);
  const theirs = new URL(db.url);
  Object.assign(theirs, { username: stranger, password: 'sesame' });
  const thief = createClient(theirs.href);
  t.after(() => thief.end());
  await thief.connect();
  const worker = await spawn();
  const { id } = worker;
  const key = `hashtextextended('${id}', 0)`;
  const taken = thief.query(`select pg_advisory_lock(${key})`);
  const holds = (granted: boolean) =>
    `from pg_locks where locktype = 'advisory' and objsubid = 1 and (classid::bigint << 32 | objid::bigint) = ${key}
      and granted = ${granted}`;
  await eventually(async () => assert.equal((await db.query(`select ${holds(false)}`)).rowCount, 1));
  await db.query(`select pg_terminate_backend(pid) ${holds(true)}`);
  await taken;
  await eventually(async () => {
    const { rows: members } = await db.query<{ id: string }>('select id from workers where worker_is_alive(id)');
    assert.equal(members.filter((member) => member.id !== id).length, 1);
  });
  const job = await add(db, 'media', 'slow', { payload: { ms: 1 } });
  await reads(db, job, { status: 'completed', attempt: 1 });
  await db.query(`drop role ${stranger}`);
});

test('a worker that starts over has retried at once what it ran under its old id', async () => {
  const worker = await spawn({ HEARTBEAT_INTERVAL: '200', WORKER_CONCURRENCY: '1' });
  const id = await add(db, 'media', 'slow', { payload: { ms: 60_000 } });
  await reads(db, id, { status: 'processing', locked_by: worker.id });
  // As if the job had been started after the worker was reaped.
  await db.query(`delete from workers`);
  const row = await reads(db, id, { status: 'processing', attempt: 2, error_code: 'worker_lost' }, 10_000);
  assert.equal(row['locked_by'], (await worker.ask()).id);
});

test('the sessions of a reaped worker are ended together, and not one after the other', async () => {
  const instance = randomUUID();
  const sessions = Array.from({ length: 16 }, () => createClient(db.url, { instance }));
  await Promise.all(sessions.map((session) => session.connect()));
  const asked = quietNow();
  await query(db, statementOf('worker/queue/fleet/reap.sql', 'end_sessions'), { instance });
  // Postgres looks each 100 ms whether one that is waited for has ended.
  assert.ok(quietNow() - asked < 1_200);
  const { rows: left } = await db.query(`select from pg_stat_activity where pid = any($1)`, [
    sessions.map(({ pid }) => pid),
  ]);
  assert.equal(left.length, 0);
});

test('a worker whose connections are all cut goes on by itself and loses nothing', async () => {
  const worker = await spawn();
  await db.query(
    `insert into media_jobs (kind, payload) select 'late_commit', '{"ms": 30}' from generate_series(1, 60)`,
  );
  for (let cut = 0; cut < 5; cut++) {
    await sleep(300);
    await db.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
       and pid <> pg_backend_pid()`,
    );
  }
  await eventually(async () => {
    const { rows: left } = await db.query(`select status, count(*)::int as n from media_jobs group by 1`);
    assert.deepEqual(left, [{ status: 'completed', n: 60 }]);
  }, 60_000);
  const { rows: effects } = await db.query(
    `select count(*)::int as n, count(distinct job_id)::int as jobs from effects`,
  );
  assert.deepEqual(effects, [{ n: 60, jobs: 60 }]);
  await eventually(async () => assert.equal((await worker.ask()).trouble, null));
});

test('SIGTERM lets running jobs finish and gives the others back', async () => {
  const worker = await spawn();
  const ids = await Promise.all([1, 2, 3, 4, 5].map(() => add(db, 'media', 'slow', { payload: { ms: 800 } })));
  await eventually(async () =>
    assert.equal((await rows(db, ids)).filter((row) => row.status === 'processing').length, 2),
  );
  assert.equal(await worker.end('SIGTERM'), 0);
  for (const { status, started_at } of await rows(db, ids))
    assert.ok(started_at ? status === 'completed' : status === 'pending', `${status}, started at ${started_at}`);
  const { rows: left } = await db.query(`select from jobs where status = 'pending'`);
  assert.ok(left.length > 0, 'all had started before the signal');
  assert.equal((await db.query(`select from workers`)).rowCount, 0);
  await spawn();
  for (const id of ids) await reads(db, id, { status: 'completed', attempt: 1, retry_count: 0 });
});

test('what still runs after SHUTDOWN_TIMEOUT goes back to pending, and no retry is used', async () => {
  const worker = await spawn({ SHUTDOWN_TIMEOUT: '300' });
  const id = await add(db, 'media', 'slow', { payload: { ms: 60_000 } });
  await reads(db, id, { status: 'processing' });
  const asked = quietNow();
  assert.equal(await worker.end('SIGTERM'), 0);
  assert.ok(quietNow() - asked < 5_000);
  await reads(db, id, { status: 'pending', attempt: 1, retry_count: 0 });
  await spawn();
  await reads(db, id, { status: 'processing', attempt: 2 });
});
