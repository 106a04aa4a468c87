import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../support/eventually.ts';
import { slow } from '../../support/everything.ts';
import { reads } from '../../support/jobs.ts';
import type { Worker } from '../../../worker/queue/worker.ts';
import { quietNow, quietShare } from '../../support/quiet-time.ts';
import { createRig, setQueue, type Rig } from '../../support/worker.ts';

// Jobs a second over the whole fleet, by queue and by name.

let rig: Rig;
before(async () => {
  rig = await createRig();
});
after(() => rig.close());

const value = async (text: string, values: unknown[] = []) =>
  Object.values((await rig.db.query<Record<string, number>>(text, values)).rows[0]!)[0]!;

test('a token is given at once, or ahead of its time, or one is told when to come back', async () => {
  // In one statement, so that no time passes between two on a busy machine.
  const { rows } = await rig.db.query<{ wait: number }>(
    `select take_tokens('bucket', 1, 10) as wait from generate_series(1, 14)`,
  );
  const waits = rows.map(({ wait }) => wait);
  assert.equal(waits[0], 0);
  for (const [n, wait] of waits.slice(1, 11).entries()) assert.ok(wait > n * 100 && wait <= (n + 1) * 100, `${wait}`);
  // Refused, and sent back one after the other.
  const refused = waits.slice(11);
  for (const [n, wait] of refused.entries()) assert.ok(wait > 1_000 + n * 100 && wait <= 1_100 + n * 100, `${wait}`);
});

test('a clock that was set back an hour makes nobody wait an hour', async () => {
  // What belongs together goes to Postgres at once, because a busy machine takes as long as new tokens take to come.
  const together = async (...statements: string[]): Promise<number> => {
    const answers = (await rig.db.query(statements.join('; '))) as unknown as { rows: { wait: number }[] }[];
    return answers.at(-1)!.rows[0]!.wait;
  };
  const ask = `select take_tokens('set back', 1, 10) as wait`;
  const empty = `select take_tokens('set back', 1, 10) from generate_series(1, 30)`;
  const move = (by: string) =>
    `update rate_limits set updated_at = updated_at + '${by}', promised_until = promised_until + '${by}'
      where key = 'set back'`;
  const refused = await together(empty, move('1 hour'), ask);
  assert.ok(refused > 1_000 && refused < 10_000, `${refused}`);
  const taken = await together(move('-1 second'), ask);
  assert.ok(taken <= 1_000, `${taken}`);

  // Where tokens are left.
  assert.ok((await together(move('-1 second'), move('1 hour'), ask)) <= 1_000);
  const next = await together(empty, ask);
  assert.ok(next > 1_000 && next < 10_000, `${next}`);
});

test('what can never be had is an error', async () => {
  for (const call of [`take_tokens('x', 1, 0)`, `take_tokens('x', 0, 1)`, `take_tokens('x', 100, 1)`])
    await assert.rejects(rig.db.query(`select ${call}`), { code: '22023' });
});

test('an unused bucket saves up next to nothing', async () => {
  await rig.db.query(`insert into rate_limits (key, tokens, updated_at) values ('idle', 0, now() - interval '1 hour')`);
  const began = performance.now();
  const waits = await Promise.all(Array.from({ length: 100 }, () => value(`select take_tokens('idle', 1, 500)`)));
  const filled = ((performance.now() - began) / 1_000) * 500;
  assert.ok(waits.filter((wait) => wait === 0).length <= 10 + filled + 1, waits.join(' '));
});

test("a queue's limit holds over several workers, and is lifted", async () => {
  const echo = { 'media.echo': async () => null };
  const workers: Worker[] = [];
  for (let n = 0; n < 3; n++) workers.push(await rig.worker(echo, { QUEUES: 'media', WORKER_CONCURRENCY: '5' }));
  await setQueue(rig.db, workers, 'media', { rate_limit: 50 });
  const share = quietShare();
  await rig.db.query(`insert into media_jobs (kind) select 'echo' from generate_series(1, 200)`);
  await eventually(async () => {
    assert.equal(await value(`select count(*) from media_jobs where status = 'completed'`), 200);
  }, 15_000);
  const { rows } = await rig.db.query<{ s: number; retries: number; attempts: number }>(
    `select extract(epoch from max(started_at) - min(started_at))::float8 as s, sum(retry_count)::int as retries,
     sum(attempt)::int as attempts
       from media_jobs`,
  );
  const { s, retries, attempts } = rows[0]!;
  const quiet = share();
  assert.ok(s > 199 / 51 && s * quiet < 200 / 40, `200 jobs at 50 a second in ${s} s, ${quiet} of them quiet`);
  assert.deepEqual([retries, attempts], [0, 200]);

  await setQueue(rig.db, workers, 'media', { rate_limit: null });
  await rig.db.query(
    `insert into media_jobs (kind, payload) select 'echo', '{"free": true}' from generate_series(1, 200)`,
  );
  await eventually(async () => {
    assert.equal(await value(`select count(*) from media_jobs where status = 'completed'`), 400);
  }, 3_000);
});

slow('a queue that waits for its limit can be paused, cancelled and stopped', async () => {
  const worker = await rig.worker(
    { 'cleanup.echo': async () => null },
    { QUEUES: 'cleanup', WORKER_POLL_INTERVAL: '200' },
  );
  await setQueue(rig.db, [worker], 'cleanup', { rate_limit: 1, batch_size: 10 });
  await rig.db.query(`insert into cleanup_jobs (kind) select 'echo' from generate_series(1, 60)`);
  await eventually(async () => {
    assert.ok((await value(`select count(*) from cleanup_jobs where status = 'completed'`)) >= 2);
  });
  // Its slots are full of tickets that wait: so it claims nothing, and is well.
  await sleep(11_000);
  assert.equal(worker.trouble(), undefined);
  const began = quietNow();
  await worker.stop();
  assert.ok(quietNow() - began < 4_000, 'stops soon');
  assert.equal(await value(`select count(*) from cleanup_jobs where status = 'processing'`), 0);
});

test('a named limit is shared by handlers; who would wait long snoozes and uses no retry', async () => {
  await rig.worker(
    {
      'social.post': async ({ rateLimit }) => {
        await rateLimit('far side', 1);
      },
    },
    { QUEUES: 'social', WORKER_CONCURRENCY: '20' },
  );
  // By one insert: they ask at once, also on a busy machine.
  const { rows: added } = await rig.db.query<{ id: number }>(
    `insert into social_jobs (kind) select 'post' from generate_series(1, 5) returning id`,
  );
  for (const { id } of added) await reads(rig.db, id, { status: 'completed', retry_count: 0, error_code: null });
  const { rows } = await rig.db.query<{ s: number; attempts: number }>(
    `select extract(epoch from max(completed_at) - min(completed_at))::float8 as s, sum(attempt)::int as attempts
     from social_jobs`,
  );
  assert.ok(rows[0]!.s > 3.4, `5 jobs at one a second in ${rows[0]!.s} s`);
  assert.ok(rows[0]!.attempts > 5, 'some were sent away');
});
