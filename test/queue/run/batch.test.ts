import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PermanentError, Snooze } from '../../../worker/base/errors.ts';
import { job, type JobContext } from '../../../worker/queue/job.ts';
import { eventually } from '../../support/eventually.ts';
import { reads, type Row } from '../../support/jobs.ts';
import type { Worker } from '../../../worker/queue/worker.ts';
import { createRig, setQueue, type Rig } from '../../support/worker.ts';

// Kinds that do many jobs by one call.

const payload = z.object({ n: z.number(), say: z.string().default('') });
type Context = JobContext<z.output<typeof payload>>;

let rig: Rig;
let worker: Worker;
let calls: number[][] = [];
let answer: (jobs: Context[]) => Promise<unknown[]>;
beforeEach(() => {
  calls = [];
  answer = async (jobs) => jobs.map((one) => ({ n: one.payload.n }));
});

before(async () => {
  rig = await createRig();
  await rig.db.query(`update queues set backoff_ms = 50, batch_size = 50 where name = 'notification'`);
  await rig.db.query(`create table effects (job_id bigint)`);
  const batch = job({
    name: 'notification.batch',
    payload,
    batchSize: 20,
    runBatch: async (jobs) => {
      calls.push(jobs.map((one) => one.payload.n));
      return answer(jobs);
    },
  });
  const single = job({ name: 'notification.single', payload, run: async (one) => ({ n: one.payload.n }) });
  worker = await rig.worker(new Map([batch, single].map((kind) => [kind.name, kind])), { WORKER_CONCURRENCY: '2' });
});
after(() => rig.close());

async function insert(count: number, says: Record<number, string> = {}, kind = 'batch'): Promise<number[]> {
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind, payload)
     select $1, jsonb_build_object('n', n, 'say', coalesce($2::jsonb ->> n::text, ''))
       from generate_series(1, $3::int) n
     returning id`,
    [kind, JSON.stringify(says), count],
  );
  return rows.map(({ id }) => id);
}

async function all(ids: number[], columns: Partial<Row>): Promise<void> {
  for (const id of ids) await reads(rig.db, id, columns);
}

test('come together up to their batch size, each with its own result', async () => {
  const ids = await insert(47);
  await all(ids, { status: 'completed', attempt: 1 });
  assert.deepEqual(
    calls.map((call) => call.length).toSorted((a, b) => b - a),
    [20, 20, 7],
  );
  for (const [index, id] of ids.entries()) await reads(rig.db, id, { result: { n: index + 1 } });
});

test('an error answers for one job alone: retried, dead, snoozed; the others complete', async () => {
  answer = async (jobs) =>
    jobs.map((one) => {
      if (one.payload.say === 'dead') return new PermanentError('no_such_token', 'gone');
      if (one.payload.say === 'again' && one.job.attempt === 1) return new Error('once more');
      if (one.payload.say === 'wait' && one.job.attempt === 1) return new Snooze(50, 'not yet');
      return null;
    });
  const [fine, dead, again, waits] = (await insert(4, { 2: 'dead', 3: 'again', 4: 'wait' })) as [
    number,
    number,
    number,
    number,
  ];
  await reads(rig.db, fine, { status: 'completed', attempt: 1 });
  await reads(rig.db, dead, { status: 'failed', error_code: 'no_such_token', retry_count: 3 });
  await reads(rig.db, again, { status: 'completed', attempt: 2, retry_count: 1 });
  await reads(rig.db, waits, { status: 'completed', attempt: 2, retry_count: 0 });
  assert.deepEqual(calls[0], [1, 2, 3, 4]);
});

test('what the call itself throws holds for all of them, and so does an answer for too few', async () => {
  answer = async (jobs) => {
    if (jobs[0]!.job.attempt === 1) throw new Error('all at once');
    return jobs[0]!.job.attempt === 2 ? [] : jobs.map(() => null);
  };
  const ids = await insert(3);
  await all(ids, { status: 'completed', retry_count: 2, error_code: 'bad_batch_answer' });
  const { rows } = await rig.db.query(
    `select distinct attempt, error_code, error from job_errors where job_id = any($1) order by attempt`,
    [ids],
  );
  assert.deepEqual(rows[0], { attempt: 1, error_code: 'unexpected_error', error: 'all at once' });
  assert.deepEqual(
    rows.map((row) => row.error_code),
    ['unexpected_error', 'bad_batch_answer'],
  );
});

test('a payload that does not fit fails alone', async () => {
  const { rows } = await rig.db.query<{ id: number }>(
    `insert into notification_jobs (kind, payload) values ('batch', '{"n": "x"}'), ('batch', '{"n": 7}') returning id`,
  );
  await reads(rig.db, rows[0]!.id, { status: 'failed', error_code: 'invalid_payload' });
  await reads(rig.db, rows[1]!.id, { status: 'completed', result: { n: 7 } });
});

test('kinds do not mix', async () => {
  const ids = await insert(5);
  const singles = await insert(5, {}, 'single');
  await all([...ids, ...singles], { status: 'completed' });
  assert.deepEqual(calls.flat().length, 5);
});

const untilAborted = <T>(work: Promise<T>, signal: AbortSignal) =>
  Promise.race([work, once(signal, 'abort').then(() => Promise.reject(signal.reason as Error))]);

test('one of them may be cancelled while the others go on', async () => {
  const stopped: number[] = [];
  const seen = Promise.withResolvers<void>();
  answer = async (jobs) =>
    Promise.all(
      jobs.map((one) =>
        untilAborted(
          seen.promise.then(() => ({ n: one.payload.n })),
          one.signal,
        ).catch((error: unknown) => {
          stopped.push(one.job.id);
          return error;
        }),
      ),
    );
  const [first, second] = (await insert(2)) as [number, number];
  await reads(rig.db, first, { status: 'processing' });
  await rig.db.query(`update jobs set status = 'cancelled' where id = $1`, [first]);
  await eventually(() => assert.deepEqual(stopped, [first]), 2_000);
  seen.resolve();
  await reads(rig.db, second, { status: 'completed', result: { n: 2 } });
  await reads(rig.db, first, { status: 'cancelled' });
});

test('a time limit ends the call, and all of its jobs are tried again', async () => {
  await setQueue(rig.db, [worker], 'notification', { timeout_ms: 300 });
  answer = async (jobs) => {
    if (jobs[0]!.job.attempt === 1) await sleep(60_000, undefined, { signal: jobs[0]!.signal });
    return jobs.map(() => null);
  };
  const ids = await insert(3);
  await all(ids, { status: 'completed', attempt: 2, error_code: 'timeout' });
  await rig.db.query(`update queues set timeout_ms = null where name = 'notification'`);
});

test('each may commit effects of its own, which count and not its answer', async () => {
  answer = async (jobs) => {
    for (const one of jobs)
      await one.commit(async (tx) => {
        await tx.query(`insert into effects values ($1)`, [one.job.id]);
        return 'committed';
      });
    return jobs.map(() => new Error('too late'));
  };
  const ids = await insert(3);
  await all(ids, { status: 'completed', attempt: 1, result: 'committed' });
  assert.equal((await rig.db.query(`select from effects`)).rowCount, 3);
});
