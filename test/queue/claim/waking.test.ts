import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { everything } from '../../support/everything.ts';
import { quietShare } from '../../support/quiet-time.ts';
import { createRig, type Handler, type Rig } from '../../support/worker.ts';
import { bareNotifications, createSchedules, figures, lateness, type Job } from './schedules.ts';

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
      const share = quietShare();
      const jobs = await schedules.run(queue, mine, 20_000);
      all.push(...jobs);
      for (const job of jobs) if (lateness(job) * share() > 5_000) late.push({ ...job, seed: mine, ms: lateness(job) });
    }
  };
  const bare = await bareNotifications(rig.db.url, Promise.all(queues.map(lane)));
  t.diagnostic(`${runs} schedules from seed ${first}: jobs start after their commit: ${figures(all.map(lateness))}`);
  t.diagnostic(`meanwhile a bare NOTIFY took ${figures(bare)}`);
  const worst = Object.entries(Object.groupBy(all, ({ how }) => how)).map(
    ([how, jobs]) => `${how}: ${Math.max(...jobs!.map(lateness)).toFixed(0)} ms of ${jobs!.length}`,
  );
  for (const line of worst) t.diagnostic(line);
  assert.deepEqual(late, []);
});
