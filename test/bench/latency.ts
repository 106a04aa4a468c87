import { histogram } from './histogram.ts';
import { interleave, launchProducer, launchWorker, type Bench } from './measure.ts';
import type { Sent } from './producer.ts';
import { atMost, median, percentile, type Result } from './result.ts';
import type { Handled } from './tally.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';

const warmUp = 50;
/**
 * The mean pauses between two inserts. Half load: half of what one connection inserts when it does not pause, which is
 * some 700 a second.
 */
const loads = { idle: 15, 'half load': 3 };
const goals = { 0.5: 1, 0.99: 1.1 };

/**
 * From just before a single insert to the start of its handler, against graphile-worker's add_job. With --trace it
 * tells what happened while the slowest jobs waited.
 */
export async function latency(bench: Bench): Promise<Result[]> {
  const results: Result[] = [];
  for (const [load, pauseMs] of Object.entries(loads)) results.push(...(await underLoad(bench, load, pauseMs)));
  return results;
}

async function underLoad(bench: Bench, load: string, pauseMs: number): Promise<Result[]> {
  const ours: number[][] = [];
  const bare: number[][] = [];
  await interleave(bench.runs, {
    ours: async () => void ours.push(await waits(bench, rowmill, pauseMs)),
    bare: async () => void bare.push(await waits(bench, graphileWorker, pauseMs)),
  });
  const title = `latency at ${load}, insert to start`;
  bench.notes.push(...histogram(title, { ours: ours.flat(), 'graphile-worker': bare.flat() }));
  return Object.entries(goals).map(([share, goal]) => {
    const of = (runs: number[][]) => median(runs.map((run) => percentile(run, Number(share))));
    return atMost(goal, `${title}, p${Number(share) * 100}`, { ours: of(ours), anchor: of(bare), unit: 'ms' });
  });
}

async function waits(
  { server, jobs, trace, notes }: Bench,
  { create, insertOne }: typeof rowmill | typeof graphileWorker,
  pauseMs: number,
): Promise<number[]> {
  const count = warmUp + Math.ceil(jobs / (trace ? 8 : 40));
  const traceFrom = trace ? warmUp + 1 : undefined;
  const queue = await create(server);
  const producer = await launchProducer({ url: queue.url, insert: insertOne, count, connections: 1, pauseMs });
  // Nothing to claim in batches: graphile-worker starts a single job soonest without its local queue.
  const worker = await launchWorker(queue, count, { concurrency: 10, localQueue: false, traceFrom });
  worker.tell('go');
  await worker.hears('working');
  producer.tell('go');
  const handled = await worker.hears<Handled>('handled');
  const sent = await producer.hears<Sent>('sent');
  await Promise.all([worker.end(), producer.end()]);
  await queue.close();
  notes.push(...handled.slowest.flatMap((wait) => timeline(`${queue.tool} every ${pauseMs} ms`, wait, sent)));
  return handled.waits.filter(({ n }) => n > warmUp).map((wait) => wait.at - wait.sent);
}

/** What happened while a job waited, in ms since just before its insert. */
function timeline(title: string, { n, sent, at, steps }: Handled['slowest'][number], { inserted }: Sent): string[] {
  const all = [...steps, { at: inserted[n - 1]!, what: 'THE INSERT IS COMMITTED' }, { at, what: 'THE HANDLER STARTS' }];
  const lines = all.toSorted((a, b) => a.at - b.at).map((step) => `  ${(step.at - sent).toFixed(2)} ${step.what}`);
  return [`${title}: job ${n} waited ${(at - sent).toFixed(2)} ms`, ...lines];
}
