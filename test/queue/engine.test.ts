import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PermanentError, RetryableError, Snooze } from '../../worker/base/errors.ts';
import { eventually } from '../support/eventually.ts';
import { everything } from '../support/everything.ts';
import { add, reads, rows } from '../support/jobs.ts';
import type { Worker } from '../../worker/queue/worker.ts';
import { createRig, setQueue, type Rig } from '../support/worker.ts';

let rig: Rig;
let worker: Worker;
/** That its progress was seen. */
const seen = Promise.withResolvers<void>();
let runs: string[] = [];
const flaky = new Map<string, number>();

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 100, max_retries = 3`);
  worker = await rig.worker({
    'media.echo': async ({ payload }) => payload,
    'media.slow': async ({ payload, signal }) => {
      runs.push(String(payload['name']));
      await sleep(Number(payload['ms']), undefined, { signal });
    },
    'media.flaky': async ({ payload }) => {
      const name = String(payload['name']);
      const failed = flaky.get(name) ?? 0;
      flaky.set(name, failed + 1);
      if (failed < Number(payload['failures'])) throw new RetryableError('far_side_down', 'The far side is down');
      return { failed };
    },
    'media.permanent': async () => {
      throw new PermanentError('no_such_thing', 'There is no such thing');
    },
    'media.snooze': async ({ job }) => {
      if (job.attempt < 3) throw new Snooze(100, 'not yet');
      return { attempts: job.attempt };
    },
    'media.unjson': async () => ({ count: 1n }),
    'media.nul': async () => ({ text: 'a\0b\ud800' }),
    'media.weird': async () => {
      throw 'a string';
    },
    'media.progress': async ({ progress }) => {
      progress(41.6);
      await seen.promise;
    },
    'media.deaf': async () => {
      await sleep(60_000, undefined, { ref: false });
    },
    'media.effect': async ({ job, commit }) =>
      commit(async (tx) => (await tx.query(`insert into effects values ($1) returning *`, [job.id])).rows[0]),
    'media.half': async ({ job, commit }) =>
      commit(async (tx) => {
        await tx.query(`insert into effects values ($1)`, [job.id]);
        throw new PermanentError('changed_its_mind', 'after all');
      }),
    'social.down': async () => {
      throw new RetryableError('far_side_down', 'The far side is down');
    },
    'cleanup.ordered': async ({ payload }) => {
      runs.push(String(payload['name']));
    },
  });
  await rig.db.query(`create table effects (job_id bigint)`);
});
after(() => rig.close());

test('a row inserted pending runs and ends completed, with its result', async () => {
  const id = await add(rig.db, 'media', 'echo', { payload: { hello: 'wörld' } });
  const row = await reads(rig.db, id, {
    status: 'completed',
    attempt: 1,
    retry_count: 0,
    error_code: null,
    locked_by: null,
  });
  assert.deepEqual(row.result, { hello: 'wörld' });
  assert.ok(row.started_at >= row.created_at && row.completed_at >= row.started_at);
});

test('a row inserted in a transaction that rolls back never runs', async () => {
  const client = await rig.db.connect();
  await client.query('begin');
  const id = await add(client, 'media', 'slow', { payload: { name: 'ghost', ms: 1 } });
  await client.query('rollback');
  client.release();
  await add(rig.db, 'media', 'echo').then((next) => reads(rig.db, next, { status: 'completed' }));
  assert.deepEqual(await rows(rig.db, [id]), []);
  assert.ok(!runs.includes('ghost'));
});

test('a retryable failure is tried again after the doubled backoff, each attempt on record', async () => {
  const id = await add(rig.db, 'media', 'flaky', { payload: { name: 'twice', failures: 2 } });
  await reads(rig.db, id, { status: 'completed', attempt: 3, retry_count: 2, error_code: 'far_side_down' });
  const errors = await rig.db.query(
    `select attempt, error_code, error, failed_at, started_at, worker from job_errors where job_id = $1
     order by attempt`,
    [id],
  );
  assert.deepEqual(
    errors.rows.map((row) => [row.attempt, row.error_code, row.error]),
    [
      [1, 'far_side_down', 'The far side is down'],
      [2, 'far_side_down', 'The far side is down'],
    ],
  );
});

test('the wait doubles, and up to a tenth comes on top', async () => {
  const { rows: waits } = await rig.db.query(
    `select n, extract(epoch from retry_delay(5000, n))::float8 as s
     from generate_series(0, 40) n, generate_series(1, 20)`,
  );
  for (const { n, s } of waits) {
    const base = Math.min(5 * 2 ** n, 21_600);
    assert.ok(s >= base * 0.999 && s <= base * 1.101, `retry ${n}: ${s} s`);
  }
});

test('or grows by the same step each time, if the queue says so: 2, 4 and 6 seconds', async (t) => {
  await rig.db.query(`update queues set backoff = 'linear', backoff_ms = 2000 where name = 'social'`);
  t.after(() => rig.db.query(`update queues set backoff = 'exponential' where name = 'social'`));
  const id = await add(rig.db, 'social', 'down');
  const waits: number[] = [];
  for (const attempt of [1, 2, 3]) {
    const row = await reads(rig.db, id, { status: 'pending', attempt, retry_count: attempt });
    const { rows: failed } = await rig.db.query(`select failed_at from job_errors where job_id = $1 and attempt = $2`, [
      id,
      attempt,
    ]);
    waits.push((row['run_at'].getTime() - failed[0].failed_at.getTime()) / 1_000);
    await rig.db.query(`update jobs set run_at = now() where id = $1`, [id]);
  }
  await reads(rig.db, id, { status: 'failed', retry_count: 3 });
  for (const [index, wait] of waits.entries()) {
    const base = 2 * (index + 1);
    assert.ok(wait >= base * 0.999 && wait <= base * 1.101, `retry ${index}: ${wait} s`);
  }
});

test('when retries are used up the job is a dead letter', async () => {
  const id = await add(rig.db, 'media', 'flaky', { payload: { name: 'always', failures: 99 }, max_retries: 2 });
  await reads(rig.db, id, { status: 'failed', attempt: 3, retry_count: 2, error_code: 'far_side_down' });
  const dead = await rig.db.query(`select dead_queue from dead_letters where id = $1`, [id]);
  assert.equal(dead.rows[0].dead_queue, 'media.dead');
});

test('a permanent error is not tried again, and spends the retries', async () => {
  const id = await add(rig.db, 'media', 'permanent');
  await reads(rig.db, id, {
    status: 'failed',
    attempt: 1,
    retry_count: 3,
    error_code: 'no_such_thing',
    error: 'There is no such thing',
  });
});

test('a snooze comes back later and uses no retry', async () => {
  const id = await add(rig.db, 'media', 'snooze');
  await reads(rig.db, id, { status: 'completed', attempt: 3, retry_count: 0, error_code: null });
});

test('an unknown kind fails with unknown_kind, an unfitting payload with invalid_payload', async () => {
  const unknown = await add(rig.db, 'media', 'nonsense');
  const wrong = await add(rig.db, 'media', 'echo', { payload: [1] });
  await reads(rig.db, unknown, {
    status: 'failed',
    attempt: 1,
    error_code: 'unknown_kind',
    error: 'No handler is named media.nonsense',
  });
  await reads(rig.db, wrong, { status: 'failed', attempt: 1, error_code: 'invalid_payload' });
});

test('a result that is no JSON, or a thrown string, is a failure like any other; NUL is stored as a mark', async () => {
  const [big, weird, nul] = await Promise.all(
    ['unjson', 'weird', 'nul'].map((kind) => add(rig.db, 'media', kind, { max_retries: 0 })),
  );
  await reads(rig.db, big!, { status: 'failed', error_code: 'unexpected_error' });
  await reads(rig.db, weird!, { status: 'failed', error_code: 'unexpected_error', error: 'a string' });
  const row = await reads(rig.db, nul!, { status: 'completed' });
  assert.deepEqual(row.result, { text: 'a\u{fffd}b\u{fffd}' });
});

test('a job that takes longer than its limit is aborted and tried again', async () => {
  await setQueue(rig.db, [worker], 'media', { timeout_ms: 300 });
  const id = await add(rig.db, 'media', 'slow', { payload: { name: 'too slow', ms: 30_000 }, max_retries: 1 });
  await reads(rig.db, id, {
    status: 'failed',
    attempt: 2,
    retry_count: 1,
    error_code: 'timeout',
    error: 'The job took longer than its limit of 0.3 s',
  });
  await setQueue(rig.db, [worker], 'media', { timeout_ms: null });
});

test('progress shows on the row while it runs', async () => {
  const id = await add(rig.db, 'media', 'progress');
  await reads(rig.db, id, { status: 'processing', progress: 42 });
  seen.resolve();
  await reads(rig.db, id, { status: 'completed', progress: 100 });
});

test('effects commit with the completion, or not at all', async () => {
  const good = await add(rig.db, 'media', 'effect');
  const bad = await add(rig.db, 'media', 'half');
  await reads(rig.db, good, { status: 'completed', result: { job_id: good } });
  await reads(rig.db, bad, { status: 'failed', error_code: 'changed_its_mind' });
  const { rows: effects } = await rig.db.query(`select job_id from effects`);
  assert.deepEqual(effects, [{ job_id: good }]);
});

test("no more jobs run at once than the queue's concurrency", async () => {
  await rig.db.query(
    `insert into media_jobs (kind, payload) select 'slow', '{"name": "crowd", "ms": 150}' from generate_series(1, 8)`,
  );
  let most = 0;
  await eventually(async () => {
    const { rows: counts } = await rig.db.query(
      `select count(*) filter (where status = 'processing') as active,
       count(*) filter (where status = 'completed') as done from media_jobs where payload ->> 'name' = 'crowd'`,
    );
    most = Math.max(most, counts[0].active);
    assert.equal(counts[0].done, 8);
  });
  assert.equal(most, 2);
});

test('smaller priorities run first', async () => {
  runs = [];
  await setQueue(rig.db, [worker], 'cleanup', { paused: true });
  await rig.db.query(`
    insert into cleanup_jobs (kind, priority, payload)
    select 'ordered', p, jsonb_build_object('name', p) from unnest('{5, 1, 9, -3, 0}'::smallint[]) p`);
  await rig.db.query(`update queues set paused = false where name = 'cleanup'`);
  await eventually(() => assert.deepEqual(runs, ['-3', '0', '1', '5', '9']));
});

const many = everything ? 10_000 : 2_000;
test(`${many} rows of one insert all run once`, async () => {
  await rig.db.query(`insert into notification_jobs (kind) select 'nobody' from generate_series(1, $1)`, [many]);
  await eventually(async () => {
    const { rows: left } = await rig.db.query(
      `select status, attempt, error_code, count(*)::int as n from notification_jobs group by 1, 2, 3`,
    );
    assert.deepEqual(left, [{ status: 'failed', attempt: 1, error_code: 'unknown_kind', n: many }]);
  }, 90_000);
});

test('a handler that ignores its signal loses its place after a grace of five seconds', async () => {
  const deaf = await Promise.all([1, 2].map(() => add(rig.db, 'media', 'deaf')));
  for (const id of deaf) await reads(rig.db, id, { status: 'processing' });
  const next = await add(rig.db, 'media', 'echo');
  await rig.db.query(`update media_jobs set status = 'cancelled' where id = any($1)`, [deaf]);
  await reads(rig.db, next, { status: 'completed' });
  for (const id of deaf) await reads(rig.db, id, { status: 'cancelled' });
});
