import { setTimeout as sleep } from 'node:timers/promises';
import { launch, type Child } from './child.ts';
import { now } from './clock.ts';
import type { ProducerOptions } from './producer.ts';
import type { Server } from './server.ts';
import type { Sizes } from './sizes.ts';
import type { Handled } from './tally.ts';
import type { Queue, ToolName, WorkOptions } from './tools/tool.ts';

/** What a suite is given. */
export type Bench = Sizes & {
  server: Server;
  /** What the reader of the table must know, such as what was left out. */
  notes: string[];
  /** To tell where the time goes, where a suite can. */
  trace: boolean;
};

/** What measured best for bulk, ours and theirs. */
export const bulk: Record<ToolName, Omit<WorkOptions, 'url'>> = {
  rowmill: { concurrency: 1000, localQueue: false },
  'graphile-worker': { concurrency: 200, localQueue: true },
  'pg-boss': { concurrency: 1, localQueue: false },
  bullmq: { concurrency: 100, localQueue: false },
};

/**
 * A worker in a process of its own, loaded and not started: tell it `go`.
 * @param expect after so many jobs it says `handled`
 */
export async function launchWorker(
  queue: Pick<Queue, 'tool' | 'url'>,
  expect: number,
  options: Omit<WorkOptions, 'url'>,
): Promise<Child> {
  const worker = launch('worker.ts', { tool: queue.tool, url: queue.url, expect, ...options });
  await worker.hears('ready');
  return worker;
}

/** One that inserts jobs one at a time: tell it `go`, and it says `sent`. */
export async function launchProducer(options: ProducerOptions): Promise<Child> {
  const producer = launch('producer.ts', options);
  await producer.hears('ready');
  return producer;
}

/**
 * Jobs a second: from the start of the first handler until all jobs that are in the queue are written down as finished.
 */
export async function burnDown(queue: Queue, jobs: number, more: Partial<WorkOptions> = {}): Promise<number> {
  const worker = await launchWorker(queue, jobs, { ...bulk[queue.tool], ...more });
  worker.tell('go');
  const { first } = await worker.hears<Handled>('handled');
  const last = await drained(queue);
  await worker.end();
  return (jobs / (last - first)) * 1_000;
}

/** When nothing was left in the queue. */
export async function drained(queue: Pick<Queue, 'left'>): Promise<number> {
  while ((await queue.left()) > 0) await sleep(5);
  return now();
}

/**
 * Runs each of the contestants once a round, turning the order round each time: what wears the machine down wears them
 * all.
 */
export async function interleave(runs: number, contestants: Record<string, () => Promise<void>>): Promise<void> {
  const names = Object.keys(contestants);
  for (let round = 0; round < runs; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      console.error(`  ${round + 1} of ${runs}: ${name}`);
      await contestants[name]!();
    }
  }
}
