import { tmpdir } from 'node:os';
import { z } from 'zod';
import { createApp } from '../../worker/app.ts';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createLog } from '../../worker/base/log.ts';
import { job, type BatchContext, type JobContext } from '../../worker/queue/job.ts';
import type { Observer } from '../../worker/queue/run/observer.ts';
import { startWorker } from '../../worker/queue/worker.ts';
import { interleave, type Bench } from './measure.ts';
import { atLeast, median, type Result } from './result.ts';
import type { Server } from './server.ts';

const batchSize = 500;
type Jobs = JobContext<object>[];

/**
 * Batches of 500 jobs with an effect in Postgres each: written and completed by one `commitMany`, against a `commit`
 * for each job, as many at once as there are connections. From the first call of the handler until all are completed.
 */
export async function commits({ server, runs, jobs }: Bench): Promise<Result[]> {
  const count = Math.max(batchSize, Math.floor(jobs / 8 / batchSize) * batchSize);
  const many: number[] = [];
  const single: number[] = [];
  await interleave(runs, {
    commitMany: async () => void many.push(await rate(server, count, together)),
    commit: async () => void single.push(await rate(server, count, oneByOne)),
  });
  const figures = { ours: median(many), anchor: median(single), unit: 'jobs/s' };
  return [atLeast(3, `commits, a batch of ${batchSize} by commitMany, against ${batchSize} commits`, figures)];
}

async function together(jobs: Jobs, { commitMany }: BatchContext<object>): Promise<unknown[]> {
  await commitMany(async (tx, held) => {
    const ids = held.map((one) => one.job.id);
    await tx.query('insert into effects select unnest($1::bigint[])', [ids]);
    return new Map(ids.map((id) => [id, null]));
  });
  return jobs.map(() => null);
}

async function oneByOne(jobs: Jobs): Promise<unknown[]> {
  return Promise.all(
    jobs.map((one) => one.commit((tx) => tx.query('insert into effects values ($1)', [one.job.id]).then(() => null))),
  );
}

async function rate(server: Server, count: number, commitAll: typeof together): Promise<number> {
  const db = await server.create('rowmill');
  await db.query(`update queues set batch_size = ${batchSize} where name = 'analytics'`);
  await db.query('create table effects (job_id bigint)');
  await db.query(`insert into analytics_jobs (kind) select 'push' from generate_series(1, ${count})`);
  let first = 0;
  const push = job({
    name: 'analytics.push',
    payload: z.object({}),
    batchSize,
    runBatch(jobs, batch) {
      first ||= performance.now();
      return commitAll(jobs, batch);
    },
  });
  const all = Promise.withResolvers<void>();
  let completed = 0;
  const counting: Observer = {
    started() {},
    ended(_, { outcome }) {
      if (outcome !== 'completed') all.reject(new Error(`a job ended as ${outcome}`));
      else if (++completed === count) all.resolve();
    },
  };
  const config = loadConfig({ DATABASE_URL: db.url, QUEUES: 'analytics', LOG_LEVEL: 'warn', DATA_DIR: tmpdir() });
  const app = createApp(config, db.url, createLog(config, process.stderr));
  const worker = await startWorker(app, db.url, new Map([[push.name, push]]), { observers: [counting] });
  await all.promise;
  const jobsPerSecond = (count / (performance.now() - first)) * 1_000;
  await worker.stop();
  await app.close();
  await db.drop();
  return jobsPerSecond;
}
