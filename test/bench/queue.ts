import type { Bench } from './measure.ts';
import { burnDown, bulk, drained, interleave, launchProducer, launchWorker } from './measure.ts';
import { installPeers, redisAnswers, redisUrl } from './peers.ts';
import { atLeast, median, type Result } from './result.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';
import { load } from './tools/all.ts';
import type { ToolName } from './tools/tool.ts';

const goals: Partial<Record<ToolName, number>> = { 'graphile-worker': 1.5, bullmq: 4, 'pg-boss': 4 };

/**
 * Jobs a second, ours with full status. In bulk: jobs inserted beforehand, at their tool's fastest, into a queue that
 * is new and has no statistics; the clock runs from the first handler's start until all are written down as finished.
 * Then inserted one at a time, each in its own transaction, while a worker works: from the first insert until all are
 * finished.
 */
export async function queue(bench: Bench): Promise<Result[]> {
  const versions = installPeers();
  bench.notes.push(`pg-boss ${versions['pg-boss']}, BullMQ ${versions.bullmq} with ioredis ${versions.ioredis}`);
  const inserted = await inBulk(bench);
  const alone = await oneByOne(bench, 1, 0.95);
  const together = await oneByOne(bench, 16, 1.5);
  const compare = (pick: 'inserts' | 'jobs') => ({
    ours: together[pick],
    anchor: alone[pick],
    unit: `${pick}/s`,
  });
  return [
    ...inserted,
    alone.result,
    together.result,
    atLeast(2.5, 'queue, inserted one at a time by 16, against by 1', compare('jobs')),
    // Without the worker's part, which works on the same machine.
    atLeast(2.5, 'queue, inserts of 16 producers, against those of 1', compare('inserts')),
  ];
}

async function inBulk(bench: Bench): Promise<Result[]> {
  const tools: ToolName[] = ['rowmill', 'graphile-worker', 'pg-boss'];
  if (await redisAnswers()) tools.push('bullmq');
  else bench.notes.push(`BullMQ was left out: no Redis answers at ${redisUrl()} (REDIS_URL)`);

  const rates = new Map<string, number[]>();
  const contestants = Object.fromEntries(
    tools.map((tool) => [tool, async () => note(rates, tool, await bulkRate(bench, tool))]),
  );
  await interleave(bench.runs, {
    ...contestants,
    analysed: async () => note(rates, 'analysed', await bulkRate(bench, 'rowmill', 'analyze')),
  });

  const of = (name: string) => median(rates.get(name)!);
  const ours = of('rowmill');
  return [
    ...tools
      .slice(1)
      .map((tool) => atLeast(goals[tool]!, `queue, bulk, against ${tool}`, { ours, anchor: of(tool), unit: 'jobs/s' })),
    atLeast(0.9, 'queue, bulk, new table against analysed', { ours, anchor: of('analysed'), unit: 'jobs/s' }),
  ];
}

async function bulkRate(bench: Bench, tool: ToolName, statistics?: 'analyze'): Promise<number> {
  const { create } = await load(tool);
  const contestant = await create(bench.server);
  await contestant.insert(bench.jobs);
  if (statistics && 'db' in contestant) await (contestant as rowmill.RowmillQueue).db.query(statistics);
  const rate = await burnDown(contestant, bench.jobs);
  await contestant.close();
  return rate;
}

/** A second's: until all are finished, and until all are inserted. */
type Steady = { jobs: number; inserts: number };

async function oneByOne(bench: Bench, connections: number, goal: number): Promise<Steady & { result: Result }> {
  const count = Math.ceil((bench.jobs * (connections === 1 ? 3 : 8)) / 40);
  const ours: Steady[] = [];
  const bare: Steady[] = [];
  await interleave(bench.runs, {
    rowmill: async () => void ours.push(await steadyRate(bench, rowmill, count, connections)),
    'graphile-worker': async () => void bare.push(await steadyRate(bench, graphileWorker, count, connections)),
  });
  const jobs = median(ours.map((rate) => rate.jobs));
  const figures = { ours: jobs, anchor: median(bare.map((rate) => rate.jobs)), unit: 'jobs/s' };
  return {
    jobs,
    inserts: median(ours.map((rate) => rate.inserts)),
    result: atLeast(goal, `queue, inserted one at a time by ${connections}, against graphile-worker`, figures),
  };
}

async function steadyRate(
  bench: Bench,
  { create, insertOne }: typeof rowmill | typeof graphileWorker,
  count: number,
  connections: number,
): Promise<Steady> {
  const contestant = await create(bench.server);
  const producer = await launchProducer({ url: contestant.url, insert: insertOne, count, connections, pauseMs: 0 });
  const worker = await launchWorker(contestant, count, bulk[contestant.tool]);
  worker.tell('go');
  await worker.hears('working');
  producer.tell('go');
  const { first, last: sent } = await producer.hears<{ first: number; last: number }>('sent');
  await worker.hears('handled');
  const last = await drained(contestant);
  await Promise.all([worker.end(), producer.end()]);
  await contestant.close();
  return { jobs: (count / (last - first)) * 1_000, inserts: (count / (sent - first)) * 1_000 };
}

function note(rates: Map<string, number[]>, name: string, rate: number): void {
  rates.set(name, [...(rates.get(name) ?? []), rate]);
}
