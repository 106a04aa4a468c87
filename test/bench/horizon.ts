import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '../../worker/base/db/db.ts';
import { launchProducer, launchWorker, type Bench } from './measure.ts';
import { information, type Result } from './result.ts';
import { sizes, vacuum } from './tables.ts';
import * as rowmill from './tools/rowmill.ts';

const perSecond = 300;

/**
 * What a transaction that stays open elsewhere does to the tables, with a steady load of jobs that are archived and
 * pruned after a second: no vacuum may remove a row that it could still see. Sizes with indexes, at the end of the hold
 * and after it was released and vacuumed, against before.
 */
export async function horizon({ server, seconds }: Bench): Promise<Result[]> {
  const held = seconds * 2;
  const queue = await rowmill.create(server);
  await rowmill.keep(queue.db, { archive_after: '1 second', keep_completed: '1 second' });
  const worker = await launchWorker(queue, 0, { concurrency: 10, localQueue: false });
  const producer = await launchProducer({
    url: queue.url,
    insert: rowmill.insertOne,
    count: 1e9,
    connections: 4,
    pauseMs: 1_000 / perSecond,
  });
  worker.tell('go');
  await worker.hears('working');
  producer.tell('go');

  const settle = async () => {
    await sleep(seconds * 1_000);
    await vacuum(queue.db);
    return sizes(queue.db);
  };
  const before = await settle();
  const grown = await whileHolding(queue.url, async () => {
    await sleep(held * 1_000);
    await vacuum(queue.db);
    return sizes(queue.db);
  });
  const healed = await settle();

  await Promise.all([producer.end(), worker.end()]);
  await queue.close();
  return Object.keys(before).flatMap((name) => {
    const of = (at: typeof before) => at[name as keyof typeof before] / 1e6;
    return [
      information(`horizon, ${name}, held ${held} s`, { ours: of(grown), anchor: of(before), unit: 'MB' }),
      information(`horizon, ${name}, released`, { ours: of(healed), anchor: of(before), unit: 'MB' }),
    ];
  });
}

/** With a transaction open on another connection, idle, that sees what was there when it began. */
async function whileHolding<T>(url: string, work: () => Promise<T>): Promise<T> {
  const client = createClient(url);
  await client.connect();
  try {
    await client.query('begin isolation level repeatable read; select count(*) from queues');
    return await work();
  } finally {
    await client.end();
  }
}
