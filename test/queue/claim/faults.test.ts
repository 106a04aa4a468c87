import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../../worker/base/db/db.ts';
import { everything, slow } from '../../support/everything.ts';
import { spawnWorker, type WorkerProcess } from '../../support/processes.ts';
import { startOwnServer, type OwnServer } from '../../support/server.ts';
import { createRig, type Rig } from '../../support/worker.ts';
import { bareNotifications, createSchedules, figures, lateness, now, randomOf, type Job } from './schedules.ts';

// The random schedules of waking.test.ts, while workers are killed, their sessions are ended, and the queue of
// notifications is full. Then a job may wait for the poll or for the reaper, but it starts.

const timing = {
  many: { notifications: 8, some: 4, withinMs: 80 },
  patienceMs: { least: 50, most: 100 },
  tooSoonMs: 200,
};
const runs = Number(process.env['TEST_SCHEDULES'] ?? (everything ? 200 : 8));
/** So long after a fault a job counts as disturbed: the poll, the reaper and a new session have had their time. */
const aftermathMs = 5_000;
let server: OwnServer;
let rig: Rig;
let schedules: ReturnType<typeof createSchedules>;
let victim: WorkerProcess;

before(async () => {
  server = await startOwnServer(['max_notify_queue_pages = 64']);
  rig = await createRig();
  schedules = createSchedules(server.url, 'slow');
  const env = { QUEUES: 'media', WORKER_POLL_INTERVAL: '2000', WORKER_CONCURRENCY: '20' };
  await rig.worker({ 'media.slow': async () => null }, env, { url: server.url, timing });
  victim = await spawnWorker(server.url, env);
});
after(async () => {
  await victim.end('SIGKILL');
  await schedules.close();
  await rig.close();
  await server.close();
});

const endSessions = (which: string) =>
  schedules.db.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = 'rowmill' and datname = current_database() and ${which}`,
  );
const faults: Record<string, () => Promise<unknown>> = {
  'the sessions that listen end': () => endSessions(`query ilike 'listen%'`),
  'some sessions of workers end': () => endSessions('random() < 0.3'),
  'all sessions of workers end': () => endSessions('true'),
  async 'a worker is killed'() {
    await victim.end('SIGKILL');
    victim = await spawnWorker(server.url, { WORKER_POLL_INTERVAL: '2000' });
  },
  async 'the queue of notifications is full'() {
    const [listener, filler] = [createClient(server.url), createClient(server.url)];
    await Promise.all([listener.connect(), filler.connect()]);
    for (const statement of ['listen anything', 'begin', 'select 1']) await listener.query(statement);
    try {
      for (;;) await filler.query(`select pg_notify('anything', repeat('x', 7000) || random())`);
    } catch {
      await sleep(500);
    }
    await Promise.all([listener.end(), filler.end()]);
  },
};

slow('random schedules with faults: each job starts', async (t) => {
  const first = Number(process.env['TEST_SEED'] ?? Math.floor(Math.random() * 1e9));
  const random = randomOf(first);
  let [seed, done] = [first, false];
  const befell: { from: number; to: number }[] = [];
  const all: Job[] = [];
  const work = async () => {
    while (seed < first + runs) all.push(...(await schedules.run('media', seed++, 90_000, true)));
  };
  const disturb = async () => {
    const names = Object.keys(faults);
    for (let n = 0; !done; n++) {
      const from = now();
      await faults[names[n % names.length]!]!();
      befell.push({ from, to: now() + aftermathMs });
      // Some follow at once, others leave the workers in peace for a while.
      await sleep(random.of([100, 1_000, aftermathMs + 2_000]));
    }
  };
  const disturbing = disturb();
  const working = work().finally(() => (done = true));
  const bare = await bareNotifications(server.url, working);
  await disturbing;
  const disturbed = ({ committedAt, startedAt = Infinity }: Job) =>
    befell.some(({ from, to }) => from < startedAt && committedAt < to);
  const of = (jobs: Job[]) => figures(jobs.map(lateness));
  t.diagnostic(`${runs} schedules from seed ${first}, ${befell.length} faults. Jobs start after their commit:`);
  t.diagnostic(`in peace ${of(all.filter((job) => !disturbed(job)))}`);
  t.diagnostic(`around a fault ${of(all.filter(disturbed))}`);
  t.diagnostic(`meanwhile a bare NOTIFY took ${figures(bare)}`);
  assert.deepEqual(
    all.filter(({ startedAt }) => startedAt === undefined),
    [],
  );
});
