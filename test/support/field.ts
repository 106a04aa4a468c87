import assert from 'node:assert/strict';
import { eventually } from './eventually.ts';
import { spawnWorker, type WorkerProcess } from './processes.ts';
import { createRig } from './worker.ts';

/** Cron expressions: each second, and hardly ever. */
export const each = '* * * * * *';
export const never = '0 0 29 2 1';

type Seeded = { id: number; tick: Date; late_ms: number };
export type Columns = Record<string, unknown>;

/** A database of the test's own, its workers, and what its schedules did. */
async function createField() {
  const rig = await createRig();
  const fleet: WorkerProcess[] = [];

  async function status(name: string): Promise<Record<string, any>> {
    const { rows } = await rig.db.query(`select * from schedule_status where name = $1`, [name]);
    return rows[0]!;
  }

  /** The jobs of a schedule, by their ticks. */
  async function seeded(name: string): Promise<Seeded[]> {
    const { rows } = await rig.db.query<Seeded>(
      `select id, tick, (extract(epoch from created_at - tick) * 1000)::float8 as late_ms
         from (select id, created_at, split_part(dedupe_key, '@', 2)::timestamptz as tick
                 from jobs where split_part(dedupe_key, '@', 1) = $1) j
        order by tick, id`,
      [name],
    );
    return rows;
  }

  return {
    db: rig.db,
    worker: rig.worker,
    status,
    seeded,

    async schedule(name: string, cron: string, columns: Columns = {}): Promise<void> {
      const row = { name, cron, queue: 'media', kind: 'slow', ...columns };
      const names = Object.keys(row);
      await rig.db.query(
        `insert into schedules (${names.join(', ')}) values (${names.map((_, n) => `$${n + 1}`).join(', ')})`,
        Object.values(row),
      );
    },

    /** The jobs of a schedule, once there are so many. */
    seededSome: (name: string, some: number) =>
      eventually(async () => {
        const jobs = await seeded(name);
        assert.ok(jobs.length >= some, `${jobs.length} jobs of ${name}`);
        return jobs;
      }, 30_000),

    async spawn(env?: Record<string, string>): Promise<WorkerProcess> {
      const worker = await spawnWorker(rig.db.url, env);
      fleet.push(worker);
      return worker;
    },

    async close(): Promise<void> {
      for (const { child } of fleet) child.kill('SIGCONT');
      await Promise.all(fleet.map((worker) => worker.end('SIGKILL')));
      await rig.close();
    },
  };
}

/** A test with a field of its own. */
export const field = (work: (field: Awaited<ReturnType<typeof createField>>) => Promise<void>) => async () => {
  const made = await createField();
  try {
    await work(made);
  } finally {
    await made.close();
  }
};

/** Seconds from each tick to the next. */
export const steps = (jobs: Seeded[]) =>
  jobs.slice(1).map(({ tick }, n) => (tick.getTime() - jobs[n]!.tick.getTime()) / 1_000);

export const noop = { 'media.slow': async () => ({ done: true }) };
