import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { drawing, left } from '../../worker/cli/wait.ts';
import { rowmillStarted, runRowmill } from '../support/cli.ts';
import { eventually } from '../support/eventually.ts';
import { reads, rows } from '../support/jobs.ts';
import type { Worker } from '../../worker/queue/worker.ts';
import { createRig, setQueue, type Rig } from '../support/worker.ts';
import type { Job } from '../../worker/queue/client/operate.ts';

// `rowmill add --wait`, while a worker runs.

let rig: Rig;
let worker: Worker;
before(async () => {
  rig = await createRig();
  worker = await rig.worker({
    'media.image': async ({ job, payload: { messageId }, progress, signal }) => {
      // The kind of the command line's registry leaves it alone.
      const payload = messageId as Record<string, unknown>;
      if (payload['fail'] && job.attempt <= Number(payload['fail']))
        throw new Error(`no luck in attempt ${job.attempt}`);
      if (payload['slow']) {
        progress(40);
        await sleep(30_000, undefined, { signal });
      }
      return { echo: payload };
    },
  });
  await rig.db.query(`update queues set backoff_ms = 50`);
});
after(() => rig.close());

const env = () => ({ DATABASE_URL: rig.db.url });
const addAndWait = (payload: object, ...args: string[]) =>
  runRowmill(['add', 'media.image', JSON.stringify({ messageId: payload }), '--wait', ...args], { env: env() });
const startAdding = (payload: object) =>
  rowmillStarted(['add', 'media.image', JSON.stringify({ messageId: payload }), '--wait'], { env: env() });

test('a job that completes gives its id and its result, and exit code 0', async () => {
  const { code, stdout, stderr } = await addAndWait({ a: 1, wave: [1, -2.5, 3] });
  assert.equal(code, 0);
  const [id, ...result] = stdout.split('\n');
  assert.deepEqual(JSON.parse(result.join('\n')), { echo: { a: 1, wave: [1, -2.5, 3] } });
  assert.match(stdout, /"wave": \[1, -2\.5, 3\]/);
  assert.match(stderr, new RegExp(`^job ${id} completed in \\d\\.\\d s$`, 'm'));
});

test('a job that fails gives its error, and exit code 1', async () => {
  const { code, stdout, stderr } = await addAndWait({ fail: 9 }, '--max-retries', '1');
  assert.equal(code, 1);
  const id = Number(stdout);
  assert.match(stderr, new RegExp(`^error: Job ${id} failed: unexpected_error: no luck in attempt 2\\n$`, 'm'));
});

test('with --json stdout is one document with the job and the failures of its attempts', async () => {
  const { code, stdout } = await addAndWait({ fail: 1 }, '--json');
  assert.equal(code, 0);
  const { id, created, job } = JSON.parse(stdout);
  assert.deepEqual([created, job.id, job.status, job.attempt], [true, id, 'completed', 2]);
  assert.deepEqual(
    job.errors.map(({ error }: { error: string }) => error),
    ['no luck in attempt 1'],
  );
});

test('a job that is cancelled is exit code 1, and its progress was shown', async () => {
  const { child, ended } = startAdding({ slow: true });
  let seen = '';
  child.stderr.on('data', (chunk: Buffer) => (seen += chunk.toString()));
  await eventually(() => assert.match(seen, /^job \d+ processing, attempt 1, 40 %$/m));
  const id = /^job (\d+)/m.exec(seen)![1]!;
  assert.equal((await runRowmill(['cancel', id], { env: env() })).code, 0);
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`^error: Job ${id} was cancelled`, 'm'));
});

test('Ctrl-C leaves the job, and says how to see it', async () => {
  const { child, ended } = startAdding({ slow: true });
  let id = 0;
  child.stdout.on('data', (chunk: Buffer) => (id = Number(chunk.toString())));
  await eventually(async () => assert.equal((await rows(rig.db, [id]))[0]?.status, 'processing'));
  child.kill('SIGINT');
  const { code, stderr } = await ended;
  assert.equal(code, 130);
  assert.match(stderr, new RegExp(`^Job ${id} goes on: rowmill show ${id}$`, 'm'));
  await reads(rig.db, id, { status: 'processing' });
  await rig.db.query(`update jobs set status = 'cancelled' where id = $1`, [id]);
});

test('a dedupe hit follows the job that was there', async () => {
  const first = await addAndWait({ a: 2 }, '--dedupe-key', 'k');
  const second = await addAndWait({ a: 3 }, '--dedupe-key', 'k');
  assert.deepEqual({ code: second.code, stdout: second.stdout }, { code: 0, stdout: first.stdout });
});

test('who waits on a paused queue, or for a job that is deleted, is told so', async () => {
  await setQueue(rig.db, [worker], 'media', { paused: true });
  const { child, ended } = startAdding({});
  let seen = '';
  child.stderr.on('data', (chunk: Buffer) => (seen += chunk.toString()));
  await eventually(() => assert.match(seen, /^Queue media is paused: rowmill resume media$/m));
  await rig.db.query(`delete from media_jobs where status = 'pending'`);
  const { code, stderr } = await ended;
  assert.equal(code, 1);
  assert.match(stderr, /^error: Job \d+ was deleted$/m);
  await rig.db.query(`update queues set paused = false where name = 'media'`);
});

test('the bar tells how long a job takes yet, once there is something to go by', () => {
  const started_at = new Date('2026-01-01T00:00:00Z');
  const at = (seconds: number) => started_at.getTime() + seconds * 1_000;
  const cases: [number | null, number, string][] = [
    [null, 60, ''],
    [0, 60, ''],
    [2, 60, ''],
    [50, 2, ''],
    [25, 10, ', 30 s left'],
    [10, 60, ', 9 min left'],
    [3, 720, ', 6 h left'],
    [99, 100, ', 1 s left'],
    [100, 100, ', 0 s left'],
  ];
  for (const [progress, ran, expected] of cases)
    assert.equal(left({ status: 'processing', progress, started_at }, at(ran), at(ran)), expected);
  assert.equal(left({ status: 'completed', progress: 50, started_at }, at(60), at(60)), '');
  assert.equal(left({ status: 'processing', progress: 50, started_at: null }, at(60), at(60)), '');
  const half = { status: 'processing', progress: 50, started_at } as const;
  assert.equal(left(half, at(20), at(25)), ', 15 s left', 'it counts down until the next progress');
  assert.equal(left(half, at(20), at(41)), '', 'what should have ended is not said to end');
});

test('a narrow terminal shortens the bar, not what it says', () => {
  const job = { status: 'processing', attempt: 1, progress: 50 } as Job;
  const says = 'processing, attempt 1, 50 %, 20 s left';
  const cases: [columns: number, expected: string][] = [
    [200, `[${'#'.repeat(12)}${'.'.repeat(12)}]  ${says}`],
    [80, `[${'#'.repeat(12)}${'.'.repeat(12)}]  ${says}`],
    [60, `[${'#'.repeat(6)}${'.'.repeat(7)}]  ${says}`],
    [48, says],
    [20, 'processing, attemp…'],
  ];
  for (const [columns, expected] of cases) assert.equal(drawing(job, ', 20 s left', columns), expected);
});
