import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../worker/base/db/db.ts';
import { now } from './clock.ts';
import { interleave, launchProducer, launchWorker, type Bench } from './measure.ts';
import { atMost, information, median, percentile, type Result } from './result.ts';
import type { Database } from './server.ts';
import * as graphileWorker from './tools/graphile-worker.ts';
import * as rowmill from './tools/rowmill.ts';

const notifications = 200;
const inserts = 1_000;
type Run = { p50: number; p99: number; inserts: number };

/**
 * The user's own notifications, 200 a second from four sessions: from before the statement until they are heard. Alone,
 * and beside 1,000 single inserts a second: into a plain table, into ours and into bare graphile-worker's, both with a
 * worker.
 */
export async function notify(bench: Bench): Promise<Result[]> {
  const runs: Record<string, Run[]> = { alone: [], plain: [], ours: [], bare: [] };
  await interleave(bench.runs, {
    alone: async () => void runs['alone']!.push(await beside(bench)),
    plain: async () => void runs['plain']!.push(await beside(bench, 'plain')),
    ours: async () => void runs['ours']!.push(await beside(bench, rowmill)),
    bare: async () => void runs['bare']!.push(await beside(bench, graphileWorker)),
  });
  const reached = (name: string) => median(runs[name]!.map((run) => run.inserts)).toFixed(0);
  bench.notes.push(
    `notify: reached ${reached('plain')} plain inserts/s, ${reached('ours')} of ours, ${reached('bare')} of add_job`,
  );
  const compare = (anchor: string, pick: (run: Run) => number) => ({
    ours: median(runs['ours']!.map(pick)),
    anchor: median(runs[anchor]!.map(pick)),
    unit: 'ms',
  });
  const name = `the user's own notifications beside ${inserts} inserts/s`;
  return (['p50', 'p99'] as const).flatMap((share) => [
    atMost(
      1,
      `notify, ${name}, ${share}, against beside graphile-worker`,
      compare('bare', (run) => run[share]),
    ),
    information(
      `notify, ${name}, ${share}, against beside a plain table`,
      compare('plain', (run) => run[share]),
    ),
    information(
      `notify, ${name}, ${share}, against none`,
      compare('alone', (run) => run[share]),
    ),
  ]);
}

async function beside(bench: Bench, what?: typeof rowmill | typeof graphileWorker | 'plain'): Promise<Run> {
  if (what === undefined || what === 'plain') {
    const db = await bench.server.create('nothing');
    await db.query('create table plain (id bigint generated always as identity primary key, payload jsonb)');
    const insert = what && 'insert into plain (payload) values ($1)';
    const run = await underLoad(bench, db, insert);
    await db.drop();
    return run;
  }
  const queue = await what.create(bench.server);
  const worker = await launchWorker(queue, 0, { concurrency: 50, localQueue: false });
  worker.tell('go');
  await worker.hears('working');
  const run = await underLoad(bench, queue.db, what.insertOne);
  await worker.end();
  await queue.close();
  return run;
}

async function underLoad({ seconds }: Bench, { url }: Database, insert?: string): Promise<Run> {
  const options = { url, count: 1e9, connections: 16, pauseMs: 1_000 / inserts };
  const producer = insert && (await launchProducer({ ...options, insert }));
  if (producer) producer.tell('go');
  // The worker has seen that there are many.
  await sleep(Math.min(seconds, 2) * 1_000);
  const took = await ownNotifications(url, seconds);
  let reached = 0;
  if (producer) {
    producer.tell('stop');
    const { first, last, count } = await producer.hears<{ first: number; last: number; count: number }>('sent');
    reached = (count / (last - first)) * 1_000;
    await producer.end();
  }
  return { p50: percentile(took, 0.5), p99: percentile(took, 0.99), inserts: reached };
}

/** How long each took, in ms. */
async function ownNotifications(url: string, seconds: number): Promise<number[]> {
  const listener = createClient(url);
  const senders = Array.from({ length: 4 }, () => createClient(url));
  await Promise.all([listener, ...senders].map((client) => client.connect()));
  await listener.query('listen own');
  const took: number[] = [];
  listener.on('notification', ({ payload }) => took.push(now() - Number(payload)));
  const end = now() + seconds * 1_000;
  await Promise.all(
    senders.map(async (sender) => {
      for (let due = now(); due < end; due += (1_000 * senders.length) / notifications) {
        if (due > now()) await sleep(due - now());
        await sender.query(`select pg_notify('own', $1)`, [String(now())]);
      }
    }),
  );
  await Promise.all([listener, ...senders].map((client) => client.end()));
  return took;
}
