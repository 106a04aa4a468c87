import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../worker/base/db/db.ts';
import { interleave, launchProducer, launchWorker, type Bench } from './measure.ts';
import { atLeast, atMost, median, percentile, type Result } from './result.ts';
import { create, insertOne } from './tools/rowmill.ts';

const perSecond = 100;
const wayMs = 1;
/** A new worker is slow for so long. */
const warmSeconds = 2;
type Run = { inserts: number; p50: number; p99: number; held: number };

/**
 * 32 producers whose every statement takes a millisecond longer to arrive, 100 single inserts a second together. In one
 * half of the runs one of them inserts a job first, and commits only a second after the others are done. Each job's
 * delay is from its `created_at` until its `started_at`; that of the held one from its commit.
 */
export async function producers(bench: Bench): Promise<Result[]> {
  const [open, none]: [Run[], Run[]] = [[], []];
  await interleave(bench.runs, {
    'one stays open': async () => void open.push(await measure(bench, true)),
    'none does': async () => void none.push(await measure(bench, false)),
  });
  const compare = (unit: string, pick: (run: Run) => number) => ({
    ours: median(open.map(pick)),
    anchor: median(none.map(pick)),
    unit,
  });
  const name = 'producers, 31 of 32 beside an open transaction, against none open';
  return [
    atLeast(
      0.95,
      `${name}: inserts`,
      compare('/s', ({ inserts }) => inserts),
    ),
    atMost(
      1.1,
      `${name}: from insert to start, p50`,
      compare('ms', ({ p50 }) => p50),
    ),
    atMost(
      1.5,
      `${name}: from insert to start, p99`,
      compare('ms', ({ p99 }) => p99),
    ),
    // It looks each hundredth of the time that the transaction has been open.
    atMost(1, 'producers, from the commit of the open transaction to the start, against 1/100 of its time + 100 ms', {
      ours: Math.max(...open.map(({ held }) => held)),
      anchor: 100 + (warmSeconds + bench.seconds + 1) * 10,
      unit: 'ms',
    }),
  ];
}

async function measure({ server, seconds }: Bench, holds: boolean): Promise<Run> {
  const queue = await create(server);
  const way = await longWay(queue.url);
  const worker = await launchWorker(queue, 0, { concurrency: 50, localQueue: false });
  worker.tell('go');
  await worker.hears('working');
  const holder = createClient(way.url);
  await holder.connect();
  if (holds) await holder.query(`begin; insert into analytics_jobs (kind) values ('noop')`);
  const options = {
    url: way.url,
    insert: insertOne,
    count: (warmSeconds + seconds) * perSecond,
    pauseMs: 1_000 / perSecond,
  };
  const producer = await launchProducer({ ...options, connections: 31 });
  producer.tell('go');
  const { first, last, count } = await producer.hears<{ first: number; last: number; count: number }>('sent');
  await sleep(1_000);
  if (holds) await holder.query('commit');
  const committed = Date.now();
  while ((await queue.left()) > 0) await sleep(20);

  const { rows } = await queue.db.query<{ ms: number; at: number; sent: boolean }>(
    `select extract(epoch from started_at - created_at)::float8 * 1000 as ms,
            extract(epoch from started_at)::float8 * 1000 as at, payload ? 'sent' as sent
       from analytics_jobs
      where not payload ? 'sent'
         or created_at > (select min(created_at) + $1 * interval '1 second'
                            from analytics_jobs
                           where payload ? 'sent')`,
    [warmSeconds],
  );
  const others = rows.filter(({ sent }) => sent).map(({ ms }) => ms);
  const held = rows.find(({ sent }) => !sent);
  await Promise.all([producer.end(), worker.end(), holder.end()]);
  await way.close();
  await queue.close();
  return {
    inserts: (count / (last - first)) * 1_000,
    p50: percentile(others, 0.5),
    p99: percentile(others, 0.99),
    held: held ? Math.max(0, held.at - committed) : 0,
  };
}

/** A way to the server on which what a client sends arrives a millisecond later. */
async function longWay(url: string): Promise<{ url: string; close(): Promise<void> }> {
  const server = new URL(url);
  const proxy = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: server.hostname, port: Number(server.port), noDelay: true });
    client.on('data', (bytes) => void setTimeout(() => upstream.write(bytes), wayMs));
    client.on('close', () => void setTimeout(() => upstream.destroy(), wayMs));
    upstream.on('data', (bytes) => void client.write(bytes));
    upstream.on('close', () => void client.destroy());
    for (const socket of [client, upstream]) socket.on('error', () => {});
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const longer = new URL(url);
  longer.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return {
    url: longer.href,
    async close() {
      proxy.close();
      await once(proxy, 'close');
    },
  };
}
