import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { everything } from '../../support/everything.ts';
import { createRig, type Handler, type Rig } from '../../support/worker.ts';
import { createSchedules, lateness, type Job } from './schedules.ts';

// No job is overlooked while its worker goes from polling to being notified and back. The worker's own poll, once a
// minute, would hide it. The worker's times are a tenth of the usual ones, so that a schedule takes half a second.

const timing = {
  many: { notifications: 8, some: 4, withinMs: 80 },
  patienceMs: { least: 50, most: 100 },
  tooSoonMs: 200,
};
const runs = Number(process.env['TEST_SCHEDULES'] ?? (everything ? 600 : 60));
/** Each has a worker of its own, so that the jobs of one do not wait for those of another; and the last has two. */
const queues = ['publish', 'media', 'notification'];
let rig: Rig;
let schedules: ReturnType<typeof createSchedules>;

before(async () => {
  rig = await createRig();
  schedules = createSchedules(rig.db.url);
  for (const queue of [...queues, 'notification']) {
    const note: Handler = async ({ payload }) => schedules.started(payload['name'] as string);
    const env = { QUEUES: queue, WORKER_POLL_INTERVAL: '60000', WORKER_CONCURRENCY: '20' };
    await rig.worker({ [`${queue}.note`]: note }, env, { timing });
  }
});
after(async () => {
  await schedules.close();
  await rig.close();
});

test('random schedules: each job starts soon after its commit', async (t) => {
  const first = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 1e9));
  let seed = first;
  const all: Job[] = [];
  const late: (Job & { seed: number; ms: number })[] = [];
  const lane = async (queue: string) => {
    while (seed < first + runs) {
      const mine = seed++;
      const jobs = await schedules.run(queue, mine, 20_000);
      all.push(...jobs);
      for (const job of jobs) if (lateness(job) > 5_000) late.push({ ...job, seed: mine, ms: lateness(job) });
    }
  };
  const machine = await roundTrips(Promise.all(queues.map(lane)));
  const sorted = all.map(lateness).toSorted((a, b) => a - b);
  const at = (share: number, of = sorted) => of[Math.floor((of.length - 1) * share)]!.toFixed(1);
  t.diagnostic(
    `${runs} schedules from seed ${first}, ${all.length} jobs: started p50 ${at(0.5)} ms, p99 ${at(0.99)} ms,`,
  );
  t.diagnostic(`p99.9 ${at(0.999)} ms, at most ${at(1)} ms after the commit`);
  t.diagnostic(
    `meanwhile "select 1" took p50 ${at(0.5, machine)} ms, p99.9 ${at(0.999, machine)} ms, ` +
      `at most ${at(1, machine)} ms`,
  );
  const worst = Object.entries(Object.groupBy(all, ({ how }) => how)).map(
    ([how, jobs]) => `${how}: ${Math.max(...jobs!.map(lateness)).toFixed(0)} ms of ${jobs!.length}`,
  );
  for (const line of worst) t.diagnostic(line);
  assert.deepEqual(late, []);
});

/** How long `select 1` takes, asked each 20 ms until `work` is done: what the machine makes of it. */
async function roundTrips(work: Promise<unknown>): Promise<number[]> {
  const took: number[] = [];
  let done = false;
  const asking = (async () => {
    while (!done) {
      const began = performance.now();
      await sleep(20);
      await schedules.db.query('select 1');
      took.push(performance.now() - began - 20);
    }
  })();
  await work.finally(() => (done = true));
  await asking;
  return took.toSorted((a, b) => a - b);
}
