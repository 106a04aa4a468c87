import { setTimeout as sleep } from 'node:timers/promises';
import { bulk, burnDown, interleave, launchWorker, type Bench } from './measure.ts';
import { atMost, information, median, type Result } from './result.ts';
import type { Database } from './server.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';

/** Of a job. */
export const budgetKb = 0.9;

/** Kilobytes of write-ahead log a job, as counted by the server. */
type Run = { insert: number; process: number; archive: number };

/**
 * What Postgres writes to its log for no-op jobs in bulk, each part after a checkpoint: their insert, their processing,
 * and later their move to the archive. graphile-worker has no archive: a finished job is gone.
 */
export async function wal({ server, runs, jobs }: Bench): Promise<Result[]> {
  const count = jobs * 2.5;
  const ours: Run[] = [];
  const bare: Run[] = [];
  await interleave(runs, {
    ours: async () => {
      const queue = await rowmill.create(server);
      await rowmill.keep(queue.db, { archive_after: '1 day', keep_completed: '90 days' });
      const run = await measure(queue, count);
      const archive = await written(queue.db, count, async () => {
        await rowmill.keep(queue.db, { archive_after: '0', keep_completed: '90 days' });
        const worker = await launchWorker(queue, 0, bulk.rowmill);
        worker.tell('go');
        await archived(queue.db);
        await worker.end();
      });
      ours.push({ ...run, archive });
      await queue.close();
    },
    bare: async () => {
      const queue = await graphileWorker.create(server);
      bare.push({ ...(await measure(queue, count)), archive: 0 });
      await queue.close();
    },
  });

  const of = (all: Run[], part: (run: Run) => number) => median(all.map(part));
  const compare = (part: (run: Run) => number) => ({ ours: of(ours, part), anchor: of(bare, part), unit: 'kB' });
  const both = ({ insert, process }: Run) => insert + process;
  return [
    information(
      'wal a job, insert, against graphile-worker',
      compare(({ insert }) => insert),
    ),
    information(
      'wal a job, process, against graphile-worker',
      compare(({ process }) => process),
    ),
    information('wal a job, both, against graphile-worker', compare(both)),
    atMost(1, 'wal a job, both, against a budget', { ours: of(ours, both), anchor: budgetKb, unit: 'kB' }),
    information('wal a job, archive, against both', {
      ours: of(ours, ({ archive }) => archive),
      anchor: of(ours, both),
      unit: 'kB',
    }),
  ];
}

type Measured = Awaited<ReturnType<typeof rowmill.create>> | Awaited<ReturnType<typeof graphileWorker.create>>;

async function measure(queue: Measured, jobs: number): Promise<Omit<Run, 'archive'>> {
  const insert = await written(queue.db, jobs, () => queue.insert(jobs));
  const process = await written(queue.db, jobs, () => burnDown(queue, jobs));
  return { insert, process };
}

/**
 * Kilobytes of log a job that `work` made the server write, beginning with a checkpoint: pages touched first are logged
 * whole.
 */
export async function written(db: Database, jobs: number, work: () => Promise<unknown>): Promise<number> {
  await db.query('checkpoint');
  const from = await position(db);
  await work();
  const { rows } = await db.query<{ bytes: string }>(
    'select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1) as bytes',
    [from],
  );
  return Number(rows[0]!.bytes) / jobs / 1_000;
}

async function position(db: Database): Promise<string> {
  const { rows } = await db.query<{ lsn: string }>('select pg_current_wal_insert_lsn() as lsn');
  return rows[0]!.lsn;
}

async function archived(db: Database): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ more: boolean }>('select exists (select from analytics_jobs_live) as more');
    if (!rows[0]!.more) return;
    await sleep(100);
  }
}
