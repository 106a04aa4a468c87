import { setTimeout as sleep } from 'node:timers/promises';
import { launch, type Child } from './child.ts';
import { interleave, launchWorker, type Bench } from './measure.ts';
import { atMost, information, median, type Result } from './result.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';
import { watch, type Cost } from './watch.ts';

/** Of all queues together, by default. */
const slots = 15;

/**
 * What a worker costs while there is nothing to do: Rowmill with all queues and kinds, and graphile-worker with as many
 * slots; each polls every two seconds. CPU time, so it may be measured on a busy machine. Linux only, and the server on
 * this machine: it reads /proc.
 */
export async function idle(bench: Bench): Promise<Result[]> {
  const costs = { ours: [] as Cost[], bare: [] as Cost[], local: [] as Cost[] };
  await interleave(bench.runs, {
    ours: async () =>
      void costs.ours.push(await measure(bench, rowmill, ({ url }) => launch('idle-worker.ts', { url }))),
    bare: async () => void costs.bare.push(await measure(bench, graphileWorker, bare(false))),
    local: async () => void costs.local.push(await measure(bench, graphileWorker, bare(true))),
  });
  const of = (all: Cost[], pick: (cost: Cost) => number) => median(all.map(pick));
  const compare = (anchor: Cost[], unit: string, pick: (cost: Cost) => number) => ({
    ours: of(costs.ours, pick),
    anchor: of(anchor, pick),
    unit,
  });
  const cpu = ({ cpu: ms }: Cost) => ms;
  const commits = ({ commits: each }: Cost) => each * 60;
  return [
    atMost(1, 'idle, CPU against graphile-worker', compare(costs.bare, 'ms/s', cpu)),
    information('idle, CPU against graphile-worker with a local queue', compare(costs.local, 'ms/s', cpu)),
    information('idle, commits against graphile-worker', compare(costs.bare, '/min', commits)),
    information('idle, commits against graphile-worker with a local queue', compare(costs.local, '/min', commits)),
  ];
}

type Contestant = typeof rowmill | typeof graphileWorker;
type Launch = (queue: Awaited<ReturnType<Contestant['create']>>) => Child | Promise<Child>;

const bare =
  (localQueue: boolean): Launch =>
  (queue) =>
    launchWorker(queue, 0, { concurrency: slots, localQueue });

async function measure({ server, idleSeconds }: Bench, { create }: Contestant, start: Launch): Promise<Cost> {
  const queue = await create(server);
  const url = new URL(queue.url);
  url.searchParams.set('application_name', 'idle');
  const worker = await start({ ...queue, url: url.href });
  worker.tell('go');
  await worker.hears('working');
  // What is done at the start, and the connections that only that needed, do not count.
  await sleep(Math.min(40, idleSeconds) * 1_000);
  const cost = await watch(queue.db, [worker], idleSeconds);
  await worker.end();
  await queue.close();
  return cost;
}
