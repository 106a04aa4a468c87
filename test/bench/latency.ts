import { interleave, launchProducer, launchWorker, type Bench } from './measure.ts';
import { atMost, median, percentile, type Result } from './result.ts';
import type { Handled } from './tally.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';

const warmUp = 50;
const pauseMs = 15;

/**
 * From just before a single insert to the start of its handler, one insert each 7 to 22 ms, against graphile-worker's
 * add_job.
 */
export async function latency(bench: Bench): Promise<Result[]> {
  const ours: number[][] = [];
  const bare: number[][] = [];
  await interleave(bench.runs, {
    ours: async () => void ours.push(await waits(bench, rowmill)),
    bare: async () => void bare.push(await waits(bench, graphileWorker)),
  });
  return [0.5, 0.99].map((share) => {
    const of = (runs: number[][]) => median(runs.map((run) => percentile(run, share)));
    return atMost(1.2, `latency, insert to start, p${share * 100}`, { ours: of(ours), anchor: of(bare), unit: 'ms' });
  });
}

async function waits(
  { server, jobs }: Bench,
  { create, insertOne }: typeof rowmill | typeof graphileWorker,
): Promise<number[]> {
  const count = warmUp + Math.ceil(jobs / 80);
  const queue = await create(server);
  const producer = await launchProducer({ url: queue.url, insert: insertOne, count, connections: 1, pauseMs });
  // Nothing to claim in batches: graphile-worker starts a single job soonest without its local queue.
  const worker = await launchWorker(queue, count, { concurrency: 10, localQueue: false });
  worker.tell('go');
  await worker.hears('working');
  producer.tell('go');
  const handled = await worker.hears<Handled>('handled');
  await Promise.all([worker.end(), producer.end()]);
  await queue.close();
  return handled.waits.slice(warmUp);
}
