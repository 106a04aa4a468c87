import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { transaction } from '../../../worker/base/db/db.ts';
import { archive, reconcile } from '../../../worker/queue/fleet/upkeep.ts';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';
import { quietNow, quietShare } from '../../support/quiet-time.ts';
import type { Worker } from '../../../worker/queue/worker.ts';
import { createRig, setQueue, type Rig } from '../../support/worker.ts';

// What people do to jobs with plain SQL, while a worker runs.

let rig: Rig;
let worker: Worker;
const aborted: number[] = [];
const openGate = Promise.withResolvers<void>();
const echoed: number[] = [];

before(async () => {
  rig = await createRig();
  worker = await rig.worker(
    {
      'media.echo': async ({ job, payload }) => {
        echoed.push(job.id);
        return payload;
      },
      'media.fail': async ({ job }) => {
        throw new Error(`attempt ${job.attempt}`);
      },
      'notification.echo': async ({ payload }) => payload,
      'publish.gated': async () => openGate.promise,
      'cleanup.x': async () => 'ran',
      'media.slow': async ({ job, signal }) => {
        await sleep(30_000, undefined, { signal }).catch((error: unknown) => {
          aborted.push(job.id);
          throw error;
        });
      },
    },
    { CONCURRENCY: '16' },
  );
  await rig.db.query(`update queues set backoff_ms = 50`);
});
after(() => rig.close());

const sql = async (text: string, values: unknown[] = []) => (await rig.db.query(text, values)).rows;

test('a completed job set back to pending runs again', async () => {
  const id = await add(rig.db, 'media', 'echo');
  await reads(rig.db, id, { status: 'completed', attempt: 1 });
  await sql(`update media_jobs set status = 'pending' where id = $1`, [id]);
  await reads(rig.db, id, { status: 'completed', attempt: 2 });
});

test('a run_at in the future delays a job, and moving it back makes it due', async () => {
  const id = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 3_600_000) });
  await sleep(1_000);
  await reads(rig.db, id, { status: 'pending', attempt: 0 });
  await sql(`update jobs set run_at = now() + interval '1 second' where id = $1`, [id]);
  const row = await reads(rig.db, id, { status: 'completed' });
  assert.ok(row['started_at'] >= row['run_at']);
});

test('a running job that is cancelled stops within two seconds and stays cancelled', async () => {
  const id = await add(rig.db, 'media', 'slow');
  await reads(rig.db, id, { status: 'processing' });
  await sql(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(() => assert.ok(aborted.includes(id)), 2_000);
  await sleep(300);
  const row = await reads(rig.db, id, { status: 'cancelled', locked_by: null });
  assert.ok(row['completed_at']);
});

test('a running job that is set back to pending is aborted and runs again', async () => {
  const id = await add(rig.db, 'media', 'slow');
  await reads(rig.db, id, { status: 'processing', attempt: 1 });
  await sql(`update media_jobs set status = 'pending' where id = $1`, [id]);
  await reads(rig.db, id, { status: 'processing', attempt: 2 });
  await sql(`update media_jobs set status = 'cancelled' where id = $1`, [id]);
  await eventually(() => assert.equal(aborted.filter((other) => other === id).length, 2), 2_000);
});

test('a pending job that is cancelled never runs', async () => {
  const id = await transaction(rig.db, async (tx) => {
    const added = await add(tx, 'media', 'echo');
    await tx.query(`update jobs set status = 'cancelled' where id = $1`, [added]);
    return added;
  });
  await sleep(1_200);
  await reads(rig.db, id, { status: 'cancelled', attempt: 0 });
});

test('max_retries raised on failed jobs runs them again', async () => {
  const id = await add(rig.db, 'media', 'fail', { max_retries: 1 });
  await reads(rig.db, id, { status: 'failed', attempt: 2, retry_count: 1 });
  await sql(`update media_jobs set max_retries = 3 where status = 'failed'`);
  await reads(rig.db, id, { status: 'failed', attempt: 5, retry_count: 3, error: 'attempt 5' });
});

test('max_retries lowered while a job waits takes effect at its next failure', async () => {
  const id = await add(rig.db, 'media', 'fail', { max_retries: 1000 });
  // At least: on a busy machine it may fail again between two queries.
  await eventually(async () =>
    assert.equal((await sql(`select from media_jobs where id = $1 and retry_count >= 2`, [id])).length, 1),
  );
  await sql(`update media_jobs set max_retries = 0 where id = $1`, [id]);
  await reads(rig.db, id, { status: 'failed' });
});

test('a paused queue starts nothing, finishes what runs, and goes on when resumed', async () => {
  const running = await add(rig.db, 'media', 'slow');
  await reads(rig.db, running, { status: 'processing' });
  await setQueue(rig.db, [worker], 'media', { paused: true });
  const waiting = await add(rig.db, 'media', 'echo');
  await sleep(1_000);
  await reads(rig.db, waiting, { status: 'pending' });
  await reads(rig.db, running, { status: 'processing' });
  await sql(`update jobs set status = 'cancelled' where id = $1`, [running]);
  await eventually(() => assert.ok(aborted.includes(running)), 2_000);
  await sql(`update queues set paused = false where name = 'media'`);
  await reads(rig.db, waiting, { status: 'completed' });
});

test('a dedupe key makes one job, over its whole life and into the archive', async () => {
  const insert = () => sql(`insert into media_jobs (kind, dedupe_key) values ('echo', 'once') returning id`);
  const [first] = await insert();
  assert.deepEqual(await insert(), []);
  await reads(rig.db, first!.id, { status: 'completed' });
  assert.deepEqual(await insert(), []);
  await sql(`update jobs set completed_at = now() - interval '1 minute' where id = $1`, [first!.id]);
  await transaction(rig.db, (tx) => archive(tx, 'media'));
  await reads(rig.db, first!.id, { archived: true });
  assert.deepEqual(await insert(), []);
  assert.deepEqual(
    await sql(`insert into jobs (queue, kind, dedupe_key) values ('media', 'echo', 'once') returning id`),
    [],
  );
  await sql(`delete from media_jobs where id = $1`, [first!.id]);
  assert.equal((await insert()).length, 1);
});

test('an archived job says how to run it again, and then does', async () => {
  const id = await add(rig.db, 'media', 'echo');
  await reads(rig.db, id, { status: 'completed' });
  await sql(`update jobs set completed_at = now() - interval '1 minute' where id = $1`, [id]);
  await eventually(() => reads(rig.db, id, { archived: true }));
  await assert.rejects(sql(`update media_jobs set status = 'pending' where id = $1`, [id]), {
    message: `job ${id} of queue media is archived and cannot become pending`,
    hint: /set status = 'pending', archived = false/,
  });
  await sql(
    `update media_jobs set status = 'pending', archived = false, run_at = now() + interval '1 second' where id = $1`,
    [id],
  );
  await reads(rig.db, id, { status: 'pending', result: null, completed_at: null });
  await reads(rig.db, id, { status: 'completed', attempt: 2, archived: false });
});

test('rows written by hand are made whole', async () => {
  const [row] = await sql(`insert into social_jobs (kind, status) values ('x', 'completed') returning *`);
  assert.ok(row!.completed_at);
  const id = await add(rig.db, 'media', 'echo', { run_at: new Date(Date.now() + 3_600_000) });
  await sql(`update jobs set status = 'failed' where id = $1`, [id]);
  assert.ok((await reads(rig.db, id, { status: 'failed' }))['completed_at']);
  await sql(`update jobs set status = 'pending', run_at = now() where id = $1`, [id]);
  await reads(rig.db, id, { status: 'completed', error_code: null });
});

slow('a pending job that lost its ticket, and a processing one that nobody runs, are found', async () => {
  await setQueue(rig.db, [worker], 'analytics', { paused: true });
  const lost = await add(rig.db, 'analytics', 'x', { run_at: new Date(Date.now() - 60_000) });
  await sql(`delete from rowmill_tickets._private_jobs`);
  const orphan = await add(rig.db, 'social', 'x', { run_at: new Date(Date.now() + 3_600_000), max_retries: 0 });
  await sql(`update jobs set status = 'processing' where id = $1`, [orphan]);
  for (const queue of ['analytics', 'social'])
    await transaction(rig.db, (tx) => reconcile(tx, 'rowmill_tickets', queue, silent));
  await sql(`update queues set paused = false where name = 'analytics'`);
  await reads(rig.db, lost, { status: 'failed', error_code: 'unknown_kind' });
  await reads(rig.db, orphan, { status: 'failed', error_code: 'worker_lost' });
});

test('old history is pruned after keep_completed, and failed jobs stay', async () => {
  await sql(`insert into cleanup_jobs (kind, status, completed_at, archived)
             values ('x', 'completed', now() - interval '91 days', true),
                    ('x', 'completed', now() - interval '89 days', true),
                    ('x', 'failed', now() - interval '91 days', false)`);
  await transaction(rig.db, (tx) => archive(tx, 'cleanup'));
  // The worker's own upkeep may be at the same row: then it is gone when that commits.
  await eventually(async () =>
    assert.deepEqual(
      await sql(`select status, count(*)::int as n from cleanup_jobs where kind = 'x' group by 1 order by 1`),
      [
        { status: 'completed', n: 1 },
        { status: 'failed', n: 1 },
      ],
    ),
  );
});

test('queue_depth counts what each queue holds', async () => {
  await sql(`delete from jobs where queue = 'social'`);
  // Of jobs of other tests, which the worker's upkeep has archived if the machine is slow.
  await sql(`update queues set archived_completed = 0 where name = 'social'`);
  for (const status of ['completed', 'failed']) await add(rig.db, 'social', 'x', { status });
  await add(rig.db, 'social', 'x', { run_at: new Date(Date.now() + 3_600_000) });
  const [depth] = await sql(`select * from queue_depth where queue = 'social'`);
  assert.deepEqual(depth, {
    queue: 'social',
    waiting: 0,
    active: 0,
    completed: 1,
    failed: 1,
    delayed: 1,
    paused: false,
  });
});

test('a job on several tickets runs once', async () => {
  await setQueue(rig.db, [worker], 'media', { paused: true });
  const ids = await Promise.all([1, 2, 3, 4, 5].map(() => add(rig.db, 'media', 'echo')));
  for (const priority of [-1, -2, -3])
    await sql(`update media_jobs set priority = $1 where id = any($2)`, [priority, ids]);
  await sql(`update queues set paused = false where name = 'media'`);
  for (const id of ids) await reads(rig.db, id, { status: 'completed', attempt: 1 });
  assert.deepEqual(
    echoed.filter((id) => ids.includes(id)).toSorted((a, b) => a - b),
    ids.toSorted((a, b) => a - b),
  );
});

test('an attempt number set back by hand stops nothing', async () => {
  const id = await add(rig.db, 'media', 'fail', { max_retries: 0 });
  await reads(rig.db, id, { status: 'failed', attempt: 1 });
  await sql(`update media_jobs set status = 'pending', attempt = 0 where id = $1`, [id]);
  const row = await reads(rig.db, id, { status: 'failed', attempt: 1 });
  assert.equal((await sql(`select from job_errors where job_id = $1`, [row.id])).length, 1);
});

test('a row that somebody holds locked does not keep the others of its queue from running', async () => {
  const holder = await rig.db.connect();
  let held = 0;
  // Locked before it is due: on a busy machine that takes more tries.
  for (let [ms, early] = [500, false]; !early; ms *= 2) {
    held = await add(holder, 'media', 'echo', { run_at: new Date(Date.now() + ms) });
    await holder.query('begin');
    const { rows } = await holder.query<{ early: boolean }>(
      `select status = 'pending' and run_at > clock_timestamp() as early from media_jobs where id = $1 for update`,
      [held],
    );
    early = rows[0]!.early;
    if (!early) await holder.query('rollback');
  }
  await eventually(async () => {
    const { rows } = await holder.query(`select from media_jobs where id = $1 and run_at < clock_timestamp()`, [held]);
    assert.equal(rows.length, 1);
  });
  await sleep(500);
  const others = await Promise.all([1, 2, 3].map(() => add(rig.db, 'media', 'echo')));
  for (const id of others) await reads(rig.db, id, { status: 'completed' }, 5_000);
  await holder.query(`update media_jobs set priority = 1 where id = $1`, [held]);
  await holder.query('commit');
  holder.release();
  await reads(rig.db, held, { status: 'completed' });
});

slow('a transaction that holds the rows of one queue locked holds up no other, and no heartbeat', async () => {
  const { rows: held } = await rig.db.query<{ id: number }>(
    `insert into publish_jobs (kind) select 'gated' from generate_series(1, 16) returning id`,
  );
  for (const { id } of held) await reads(rig.db, id, { status: 'processing' });
  const holder = await rig.db.connect();
  await holder.query('begin');
  await holder.query(`update publish_jobs set priority = 1`);
  openGate.resolve();
  await sleep(1_000);
  for (let n = 0; n < 4; n++) {
    const began = quietNow();
    const id = await add(rig.db, 'notification', 'echo');
    await reads(rig.db, id, { status: 'completed' });
    assert.ok(quietNow() - began < 4_000, 'a job of another queue waits');
    const share = quietShare();
    const [beats] = await sql(
      `select extract(epoch from clock_timestamp() - heartbeat_at)::float8 as age from workers`,
    );
    assert.ok(beats!.age * share() < 10, `the heartbeat is ${beats!.age} s old`);
    await sleep(1_000);
  }
  await holder.query('rollback');
  holder.release();
  for (const { id } of held) await reads(rig.db, id, { status: 'completed' });
});

slow('a row that a living worker lost track of is retried', async () => {
  const other = await rig.worker({ 'cleanup.x': async () => 'ran' }, { QUEUES: 'cleanup', SWEEP_INTERVAL: '200' });
  await sql(`update queues set backoff_ms = 50`);
  const id = await add(rig.db, 'cleanup', 'x', { run_at: new Date(Date.now() + 3_600_000) });
  // As after the lost answer to a statement that started it.
  await sql(
    `update cleanup_jobs_live set status = 'processing', attempt = 1, locked_by = $2,
     started_at = now() - interval '20 seconds' where id = $1`,
    [id, other.id()],
  );
  await reads(rig.db, id, { retry_count: 1 });
  assert.deepEqual(await sql(`select error_code from job_errors where job_id = $1 and attempt = 1`, [id]), [
    { error_code: 'worker_lost' },
  ]);
  // Given to it by hand, and never started.
  const [given] = await sql(
    `insert into cleanup_jobs (kind, status, locked_by, created_at)
     values ('x', 'processing', $1, now() - interval '20 seconds') returning id`,
    [other.id()],
  );
  await reads(rig.db, given!.id, { retry_count: 1 });
});

test('workers are poked for a pause, and left alone by the archiver', async () => {
  const heard: string[] = [];
  const listener = await rig.db.connect();
  listener.on('notification', ({ payload }) => heard.push(payload ?? ''));
  await listener.query('listen rowmill_workers');
  for (const queue of ['media', 'social']) await transaction(rig.db, (tx) => archive(tx, queue));
  await sql(`update queues set paused = paused where name = 'cleanup'`);
  await eventually(() => assert.deepEqual(heard, ['queues']));
  listener.release(true);
});

test('what names a job cannot be changed', async () => {
  const id = await add(rig.db, 'social', 'x', { dedupe_key: 'name', run_at: new Date(Date.now() + 3_600_000) });
  for (const change of [`queue = 'media'`, `id = 123456`, `dedupe_key = 'other'`, `dedupe_key = null`])
    await assert.rejects(sql(`update jobs set ${change} where id = $1`, [id]), /cannot be changed/);
});
