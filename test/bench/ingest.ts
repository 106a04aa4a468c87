import { setTimeout as sleep } from 'node:timers/promises';
import { sources } from '../support/sources.ts';
import { launch } from './child.ts';
import type { Way } from './ingest-consumer.ts';
import type { Sent } from './ingest-producer.ts';
import { interleave, type Bench } from './measure.ts';
import { atLeast, atMost, median, type Result } from './result.ts';
import { create } from './tools/rowmill.ts';
import { padding } from './tools/tool.ts';
import { watch } from './watch.ts';

const ways = ['http', 'pg'] as const;

/** The ways in. */
export async function ingest(bench: Bench): Promise<Result[]> {
  return [...(await overHttp(bench)), ...(await fromRabbitmq(bench)), await idleBridges(bench)];
}

/**
 * Jobs a second that 16 clients add, each as soon as the last one is committed: over HTTP by connections that are kept
 * alive, and with plain inserts by as many connections to Postgres. One at a time, and 100 at a time.
 */
async function overHttp(bench: Bench): Promise<Result[]> {
  const results: Result[] = [];
  for (const [batch, goal] of [
    [1, 0.5],
    [100, 0.9],
  ] as const) {
    const jobs = batch === 1 ? Math.ceil(bench.jobs / 4) : bench.jobs;
    const rates: Record<(typeof ways)[number], number[]> = { http: [], pg: [] };
    await interleave(bench.runs, {
      http: async () => void rates.http.push(await measure(bench, 'http', batch, jobs)),
      pg: async () => void rates.pg.push(await measure(bench, 'pg', batch, jobs)),
    });
    results.push(
      atLeast(goal, `ingest, POST /jobs by 16 clients, ${batch} at a time, against inserts by 16 connections`, {
        ours: median(rates.http),
        anchor: median(rates.pg),
        unit: 'jobs/s',
      }),
    );
  }
  return results;
}

async function measure({ server }: Bench, way: (typeof ways)[number], batch: number, jobs: number): Promise<number> {
  const queue = await create(server);
  const http = way === 'http' ? launch('ingest-server.ts', { url: queue.url }) : undefined;
  const port = http && (await http.hears<{ port: number }>('ready')).port;
  const producer = launch('ingest-producer.ts', { url: queue.url, port, batch, jobs, connections: 16 });
  await producer.hears('ready');
  producer.tell('go');
  const { first, last } = await producer.hears<Sent>('sent');
  await producer.end();
  await http?.end();
  const { rows } = await queue.db.query<{ jobs: number }>('select count(*) as jobs from jobs');
  const { jobs: added } = rows[0]!;
  await queue.close();
  if (added < jobs) throw new Error(`${added} of ${jobs} jobs are in the table`);
  return (added / (last - first)) * 1_000;
}

/**
 * Messages a second that our bridge makes jobs of, against a consumer that only acknowledges them, as many at a time,
 * and against one that inserts each by itself. The messages wait in a queue before it begins.
 */
async function fromRabbitmq(bench: Bench): Promise<Result[]> {
  const source = sources['rabbitmq-classic']!;
  if (source.missing) {
    bench.notes.push(`ingest: ${source.missing}: the bridge is left out`);
    return [];
  }
  const rates: Record<Way, number[]> = { bridge: [], bare: [], single: [] };
  const messages = Math.ceil(bench.jobs / 2);
  await interleave(bench.runs, {
    bridge: async () => void rates.bridge.push(await consumed(bench, 'bridge', messages)),
    bare: async () => void rates.bare.push(await consumed(bench, 'bare', messages)),
    single: async () => void rates.single.push(await consumed(bench, 'single', Math.ceil(messages / 4))),
  });
  const name = 'ingest, messages of RabbitMQ into rows, against';
  const figures = (way: Way) => ({ ours: median(rates.bridge), anchor: median(rates[way]), unit: 'messages/s' });
  return [
    atLeast(0.4, `${name} only acknowledging them`, figures('bare')),
    atLeast(8, `${name} an insert for each`, figures('single')),
  ];
}

async function consumed({ server }: Bench, way: Way, messages: number): Promise<number> {
  const queue = await create(server);
  const source = await sources['rabbitmq-classic']!.open();
  const body = (n: number) => JSON.stringify({ n, pad: padding });
  for (let at = 0; at < messages; at += 5_000)
    await source.send(
      Array.from({ length: Math.min(5_000, messages - at) }, (_, n) => ({ body: body(at + n), key: 'analytics.noop' })),
    );
  const consumer = launch('ingest-consumer.ts', { way, url: queue.url, env: source.env(source.url), messages });
  await consumer.hears('ready');
  consumer.tell('go');
  const { first, last } = await consumer.hears<Sent>('sent');
  await consumer.end();
  await source.close();
  const { rows } = await queue.db.query<{ jobs: number }>('select count(*) as jobs from jobs');
  await queue.close();
  const { jobs } = rows[0]!;
  if (way !== 'bare' && jobs !== messages) throw new Error(`${jobs} of ${messages} messages are jobs`);
  return (messages / (last - first)) * 1_000;
}

/** Of a core: 1 %. */
const idleBudget = 10;

/**
 * What ten bridges cost, in one process, while nothing comes. It is CPU time of many seconds, so one run is enough, and
 * the machine may be busy.
 */
async function idleBridges({ server, idleSeconds }: Bench): Promise<Result> {
  const kinds = Object.values(sources).filter(({ missing }) => !missing);
  const opened = await Promise.all(Array.from({ length: 10 }, (_, n) => kinds[n % kinds.length]!.open()));
  const queue = await create(server);
  const url = new URL(queue.url);
  url.searchParams.set('application_name', 'idle');
  const child = launch('ingest-idle.ts', { url: url.href, envs: opened.map((source) => source.env(source.url)) });
  child.tell('go');
  await child.hears('working');
  // What is done at the start does not count.
  await sleep(Math.min(10, idleSeconds) * 1_000);
  const { cpu } = await watch(queue.db, [child], Math.min(45, idleSeconds));
  await child.end();
  await queue.close();
  await Promise.all(opened.map((source) => source.close()));
  const figures = { ours: cpu, anchor: idleBudget, unit: 'ms/s' };
  return atMost(1, 'ingest, ten idle bridges, CPU against 1 % of a core', figures);
}
