import { Logger, run } from 'graphile-worker';
import pg from 'pg';
import type { Database, Server } from '../server.ts';
import type { Tally } from '../tally.ts';
import { padding, type Payload, type Queue, type WorkOptions } from './tool.ts';

// graphile-worker by itself, with the settings that measured best: batched writes, a pool of its own, and for bulk a
// local queue of twice the concurrency. It keeps no row of a job that is done.

export const insertOne = `select 1 from graphile_worker.add_job('noop', $1::json)`;

export async function create(server: Server): Promise<Queue & { db: Database }> {
  const db = await server.create('graphile-worker');
  return {
    tool: 'graphile-worker',
    url: db.url,
    db,
    async insert(count) {
      await db.query(
        `select count(*) from graphile_worker.add_jobs(array(
           select row('noop', json_build_object('n', n, 'pad', $2::text), null, null, null, null, null,
             null)::graphile_worker.job_spec
             from generate_series(1, $1) n))`,
        [count, padding],
      );
    },
    async left() {
      const open = await db.query<{ jobs: number }>('select count(*) as jobs from graphile_worker._private_jobs');
      return open.rows[0]!.jobs;
    },
    close: db.drop,
  };
}

export async function work(
  { url, concurrency, localQueue, idle }: WorkOptions,
  tally: Tally,
): Promise<() => Promise<void>> {
  const pool = new pg.Pool({ connectionString: url, max: 10, keepAlive: true });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  const runner = await run({
    pgPool: pool,
    noHandleSignals: true,
    parsedCronItems: [],
    logger: new Logger(() => (level, message) => {
      if (level === 'error') console.error(message);
    }),
    // The other task never has a job.
    taskList: { [idle ? 'idle' : 'noop']: (payload: unknown) => tally.handle(payload as Payload) },
    preset: {
      worker: {
        concurrentJobs: concurrency,
        pollInterval: 2_000,
        completeJobBatchDelay: 0,
        failJobBatchDelay: 0,
        ...(localQueue ? { localQueue: { size: concurrency * 2 } } : {}),
      },
    },
  });
  return async () => {
    await runner.stop();
    await pool.end();
  };
}
