import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from './child.ts';
import { interleave, launchProducer, launchWorker, type Bench } from './measure.ts';
import { atMost, information, median, type Result } from './result.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';
import { watch, type Cost } from './watch.ts';

const perSecond = 500;

/** Each cost is that of one idle runner. */
type Run = { quiet: Cost; loaded: Cost; inserts: number };

/**
 * What processes (`runners`) cost whose queue has no jobs, while another queue, with a worker of its own, gets 500
 * single inserts a second: graphile-worker notifies every runner of every insert. Linux only, and the server on this
 * machine: it reads /proc.
 */
export async function herd(bench: Bench): Promise<Result[]> {
  const ours: Run[] = [];
  const bare: Run[] = [];
  await interleave(bench.runs, {
    ours: async () => void ours.push(await measure(bench, rowmill)),
    bare: async () => void bare.push(await measure(bench, graphileWorker)),
  });
  const reached = Math.min(...[...ours, ...bare].map(({ inserts }) => inserts));
  if (reached < perSecond * 0.95)
    bench.notes.push(`herd: this machine reached ${reached.toFixed(0)} inserts/s of the ${perSecond} that were meant`);

  const of = (runs: Run[], pick: (run: Run) => number) => median(runs.map(pick));
  const compare = (unit: string, pick: (run: Run) => number) => ({
    ours: of(ours, pick),
    anchor: of(bare, pick),
    unit,
  });
  const against = 'against graphile-worker';
  return [
    atMost(
      1,
      `herd, CPU of an idle runner, inserts elsewhere, ${against}`,
      compare('ms/s', ({ loaded }) => loaded.cpu),
    ),
    information(
      `herd, CPU of an idle runner, no inserts, ${against}`,
      compare('ms/s', ({ quiet }) => quiet.cpu),
    ),
    information('herd, CPU of an idle runner, inserts against none', {
      ours: of(ours, ({ loaded }) => loaded.cpu),
      anchor: of(ours, ({ quiet }) => quiet.cpu),
      unit: 'ms/s',
    }),
    information(
      `herd, commits of an idle runner, inserts elsewhere, ${against}`,
      compare('/s', ({ loaded }) => loaded.commits),
    ),
    information(
      `herd, commits of an idle runner, no inserts, ${against}`,
      compare('/s', ({ quiet }) => quiet.commits),
    ),
  ];
}

async function measure(
  { server, seconds, runners }: Bench,
  { create, insertOne }: typeof rowmill | typeof graphileWorker,
): Promise<Run> {
  const queue = await create(server);
  const settleMs = Math.min(3, seconds) * 1_000;
  const { db } = queue;
  const start = async (url: string, idle: boolean) => {
    const worker = await launchWorker({ tool: queue.tool, url }, 0, { concurrency: 2, localQueue: false, idle });
    worker.tell('go');
    await worker.hears('working');
    return worker;
  };
  const load = () =>
    launchProducer({ url: queue.url, insert: insertOne, count: 1e9, connections: 4, pauseMs: 1_000 / perSecond });
  const busy = await start(queue.url, false);

  const alone = await underLoad(await load(), () => watch(db, [], seconds));
  const url = new URL(queue.url);
  url.searchParams.set('application_name', 'idle');
  const idle: Child[] = [];
  for (let index = 0; index < runners; index++) idle.push(await start(url.href, true));
  await sleep(settleMs);
  const loaded = await underLoad(await load(), () => watch(db, idle, seconds));
  await sleep(settleMs);
  const quiet = await watch(db, idle, seconds);

  await Promise.all([busy, ...idle].map((worker) => worker.end()));
  await queue.close();
  return {
    quiet: { cpu: quiet.cpu / runners, commits: quiet.commits / runners },
    loaded: { cpu: loaded.cpu / runners, commits: (loaded.commits - alone.commits) / runners },
    inserts: Math.min(loaded.inserts, alone.inserts),
  };
}

async function underLoad<T>(producer: Child, work: () => Promise<T>): Promise<T & { inserts: number }> {
  producer.tell('go');
  const watched = await work();
  producer.tell('stop');
  const { first, last, count } = await producer.hears<{ first: number; last: number; count: number }>('sent');
  await producer.end();
  return { ...watched, inserts: (count / (last - first)) * 1_000 };
}
