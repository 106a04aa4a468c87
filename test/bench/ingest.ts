import { launch } from './child.ts';
import type { Sent } from './ingest-producer.ts';
import { interleave, type Bench } from './measure.ts';
import { atLeast, median, type Result } from './result.ts';
import { create } from './tools/rowmill.ts';

const ways = ['http', 'pg'] as const;

/**
 * Jobs a second that 16 clients add, each as soon as the last one is committed: over HTTP by connections that are kept
 * alive, and with plain inserts by as many connections to Postgres. One at a time, and 100 at a time.
 */
export async function ingest(bench: Bench): Promise<Result[]> {
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
