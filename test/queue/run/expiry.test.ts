import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { createPool } from '../../../worker/base/db/db.ts';
import { createClient, NotCompleted } from '../../../worker/queue/client/client.ts';
import { job } from '../../../worker/queue/job.ts';
import { Ledger } from '../../../worker/queue/run/ledger.ts';
import { add, reads } from '../../support/jobs.ts';
import { silent } from '../../support/log.ts';
import { createRig, setQueue, type Rig } from '../../support/worker.ts';

// A job that could not start before its expires_at is cancelled, and never runs.

let rig: Rig;
let served: Awaited<ReturnType<Rig['worker']>>;
const ran: number[] = [];
before(async () => {
  rig = await createRig();
  await rig.db.query('update queues set backoff_ms = 10, batch_size = 20');
  const payload = z.object({ ms: z.number().default(0) });
  const note = (id: number) => void ran.push(id);
  const kinds = [
    job({ name: 'media.echo', payload, run: async ({ job: { id } }) => note(id) }),
    job({
      name: 'media.slow',
      payload,
      run: async ({ job: { id }, payload: { ms }, signal }) => {
        note(id);
        await sleep(ms, undefined, { signal });
        return 'done';
      },
    }),
    job({
      name: 'media.late',
      payload,
      run: async ({ app, job: { id } }) => {
        note(id);
        await app.db.query(`update media_jobs set expires_at = now() where id = $1`, [id]);
        throw new Error('once more');
      },
    }),
    job({
      name: 'notification.batch',
      payload,
      batchSize: 20,
      runBatch: async (jobs) => jobs.map(({ job: { id } }) => note(id)),
    }),
  ];
  served = await rig.worker(new Map(kinds.map((kind) => [kind.name, kind])), { QUEUES: 'media,notification' });
});
after(() => rig.close());

const past = () => new Date(Date.now() - 60_000);
const expired = {
  status: 'cancelled',
  error_code: 'expired',
  error: 'The job did not start before its expires_at',
  locked_by: null,
};

test('a job that has expired ends cancelled, never runs, and counts no attempt; one that has not runs', async () => {
  const [late, timely, never] = await Promise.all([
    add(rig.db, 'media', 'echo', { expires_at: past() }),
    add(rig.db, 'media', 'echo', { expires_at: new Date(Date.now() + 60_000) }),
    add(rig.db, 'media', 'echo', { expires_at: 'infinity' }),
  ]);
  const row = await reads(rig.db, late, { ...expired, attempt: 0, started_at: null });
  assert.ok(row['completed_at']);
  await reads(rig.db, timely, { status: 'completed', error_code: null });
  await reads(rig.db, never, { status: 'completed', error_code: null });
  assert.ok(!ran.includes(late));
  assert.equal((await rig.db.query('select from job_errors where job_id = $1', [late])).rowCount, 0);
});

test('a job that expires before its retry runs once, and keeps the record of its failure', async () => {
  const id = await add(rig.db, 'media', 'late');
  const row = await reads(rig.db, id, { ...expired, attempt: 1, retry_count: 1 });
  assert.ok(row['started_at'] <= row['expires_at']);
  assert.deepEqual(
    ran.filter((each) => each === id),
    [id],
  );
  const { rows } = await rig.db.query('select attempt, error_code from job_errors where job_id = $1', [id]);
  assert.deepEqual(rows, [{ attempt: 1, error_code: 'unexpected_error' }]);
});

test('a job that has started goes on past its expires_at', async () => {
  const id = await add(rig.db, 'media', 'slow', { payload: { ms: 500 } });
  await reads(rig.db, id, { status: 'processing' });
  await rig.db.query(`update media_jobs set expires_at = now() where id = $1`, [id]);
  await reads(rig.db, id, { status: 'completed', result: 'done', error_code: null });
});

test('of a batch those that have expired are left out', async () => {
  const { rows } = await rig.db.query<{ id: number; expires_at: Date | null }>(
    `insert into notification_jobs (kind, expires_at)
     select 'batch', case when n % 3 = 0 then now() - interval '1 minute' end from generate_series(1, 12) n
     returning id, expires_at`,
  );
  for (const { id, expires_at } of rows)
    await reads(rig.db, id, expires_at ? { ...expired, attempt: 0 } : { status: 'completed', attempt: 1 });
  const meant = rows.filter(({ expires_at }) => !expires_at).map(({ id }) => id);
  assert.deepEqual(
    ran.filter((id) => rows.some((row) => row.id === id)).toSorted((a, b) => a - b),
    meant,
  );
});

test('whoever waits for it is told, and its file does not wait for it any more', async (t) => {
  const client = createClient(rig.db.url);
  t.after(() => client.close());
  const file = await rig.db.query<{ id: string }>(`insert into media default values returning id`);
  const file_id = file.rows[0]!.id;
  await setQueue(rig.db, [served], 'media', { paused: true });
  const id = await add(rig.db, 'media', 'echo', { file_id, expires_at: new Date(Date.now() + 60_000) });
  const waiting = client.wait(id);
  await rig.db.query(`update media_jobs set expires_at = now() where id = $1`, [id]);
  await rig.db.query(`update queues set paused = false where name = 'media'`);
  await assert.rejects(waiting, (error) => error instanceof NotCompleted && error.because === 'cancelled');
  await reads(rig.db, id, expired);
  assert.ok(!ran.includes(id));
  const { rows } = await rig.db.query('select status from media where id = $1', [file_id]);
  assert.deepEqual(rows, [{ status: 'PENDING' }]);
});

test('set back to pending with a later expires_at, it runs', async () => {
  const id = await add(rig.db, 'media', 'echo', { expires_at: past() });
  await reads(rig.db, id, expired);
  await rig.db.query(`update media_jobs set status = 'pending', expires_at = null where id = $1`, [id]);
  await reads(rig.db, id, { status: 'completed', attempt: 1 });
});

test('it is cancelled, too, where a neighbour of its ticket is locked', async (t) => {
  const pool = createPool(rig.db.url, { max: 3, log: silent, setUp: 'set lock_timeout = 100' });
  const holder = await rig.db.connect();
  t.after(async () => {
    await holder.query('rollback');
    holder.release();
    await pool.end();
  });
  const worker = '00000000-0000-4000-8000-00000000000c';
  const signal = new AbortController().signal;
  const where = { db: pool, claims: pool, schema: 'public', path: 'public' };
  const ledger = new Ledger({ ...where, queue: 'social', worker: () => worker, signal });
  const locked = await add(rig.db, 'social', 'x');
  const late = await add(rig.db, 'social', 'x', { expires_at: past() });
  const timely = await add(rig.db, 'social', 'x');
  await holder.query(`begin; select from social_jobs where id = ${locked} for update`);
  const rows = await ledger.start([locked, late, timely]);
  assert.deepEqual(
    rows.map((row) => [row.id, row.expired]).toSorted(([a], [b]) => Number(a) - Number(b)),
    [
      [late, true],
      [timely, null],
    ],
  );
  await reads(rig.db, late, expired);
  await reads(rig.db, timely, { status: 'processing', locked_by: worker });
});
