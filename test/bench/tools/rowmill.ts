import { tmpdir } from 'node:os';
import { z } from 'zod';
import { createApp } from '../../../worker/app.ts';
import { loadConfig } from '../../../worker/base/config/config.ts';
import { createLog } from '../../../worker/base/log.ts';
import { Metrics } from '../../../worker/metrics/metrics.ts';
import { Traces } from '../../../worker/metrics/traces.ts';
import { job } from '../../../worker/queue/job.ts';
import type { Registry } from '../../../worker/queue/registry.ts';
import { startWorker } from '../../../worker/queue/worker.ts';
import type { Database, Server } from '../server.ts';
import type { Tally } from '../tally.ts';
import { padding, type Queue, type WorkOptions } from './tool.ts';

// Rowmill with all it does to a row: status, attempt, times, worker, result. Queue analytics, whose jobs are about no
// file, and 500 of a bulk insert on a ticket.

export type RowmillQueue = Queue & { db: Database };

export const insertOne = `insert into analytics_jobs (kind, payload) values ('noop', $1)`;

export async function create(server: Server): Promise<RowmillQueue> {
  const db = await server.create('rowmill');
  await db.query(`update queues set batch_size = 500 where name = 'analytics'`);
  return queueOn(db);
}

/** The jobs that are inserted from now on, whatever the table holds already. */
export async function queueOn(db: Database): Promise<RowmillQueue> {
  const { rows } = await db.query<{ last: number }>('select last_value as last from job_ids');
  const { last } = rows[0]!;
  return {
    tool: 'rowmill',
    url: db.url,
    db,
    async insert(count) {
      await db.query(
        `insert into analytics_jobs (kind, payload)
         select 'noop', jsonb_build_object('n', n, 'pad', $2::text) from generate_series(1, $1) n`,
        [count, padding],
      );
    },
    async left() {
      const open = await db.query<{ jobs: number }>(
        `select count(*) as jobs from analytics_jobs_live where id > $1 and status in ('pending', 'processing')`,
        [last],
      );
      return open.rows[0]!.jobs;
    },
    close: db.drop,
  };
}

/** When finished jobs go to the archive, and when they go from there. */
export async function keep(db: Database, queue: { archive_after: string; keep_completed: string }): Promise<void> {
  await db.query(`update queues set archive_after = $1, keep_completed = $2 where name = 'analytics'`, [
    queue.archive_after,
    queue.keep_completed,
  ]);
}

export async function work(
  { url, concurrency, idle, observed }: WorkOptions,
  tally: Tally,
): Promise<() => Promise<void>> {
  const config = loadConfig({
    DATABASE_URL: url,
    // The other queue never has a job.
    QUEUES: idle ? 'social' : 'analytics',
    WORKER_CONCURRENCY: String(concurrency),
    LOG_LEVEL: 'warn',
    DATA_DIR: tmpdir(),
  });
  const log = createLog(config, process.stderr);
  const app = createApp(config, url, log);
  const noop = job({
    name: 'analytics.noop',
    payload: z.object({ n: z.number().optional(), sent: z.number().optional() }),
    run: async ({ payload }) => tally.handle(payload),
  });
  const registry: Registry = new Map([[noop.name, noop]]);
  const observers = observed ? [new Metrics(registry).observer, new Traces()] : [];
  const worker = await startWorker(app, url, registry, { observers });
  return async () => {
    await worker.stop();
    await app.close();
  };
}
