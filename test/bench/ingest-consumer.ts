import { setTimeout as sleep } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import amqplib, { type ConsumeMessage } from 'amqplib';
import pg from 'pg';
import { loadConfig } from '../../worker/base/config/config.ts';
import { createPool } from '../../worker/base/db/db.ts';
import { createLog } from '../../worker/base/log.ts';
import { startRabbitmq } from '../../worker/bridges/rabbitmq.ts';
import { listen, options, say } from './child.ts';
import { now } from './clock.ts';
import type { Sent } from './ingest-producer.ts';

// Takes the messages of a queue of RabbitMQ in a process of its own: by our bridge; only acknowledged, 250 at a time;
// or with one insert for each. Each on one connection to Postgres.

export type Way = 'bridge' | 'bare' | 'single';
type Options = { way: Way; url: string; env: Record<string, string>; messages: number };

const { way, url, env, messages } = options() as Options;
const config = loadConfig({ DATABASE_URL: url, LOG_LEVEL: 'warn', DATA_DIR: tmpdir(), ...env });
const { prefetch, batch, url: broker, queues } = config.rabbitmq!;

async function bridge(): Promise<Sent> {
  const log = createLog(config, process.stderr);
  const started = startRabbitmq({ db: createPool(url, { max: 1, log }), log, config }, config.rabbitmq!);
  while (!started.state().connected) await sleep(1);
  const first = now();
  while (Object.values(started.taken()).reduce((sum, n) => sum + n) < messages) await sleep(1);
  return { first, last: now() };
}

/** @param take is told of each message in turn, and how many have come */
async function consume(take: (message: ConsumeMessage, count: number) => Promise<number>): Promise<Sent> {
  const channel = await (await amqplib.connect(broker)).createChannel();
  await channel.prefetch(prefetch);
  const inbox: ConsumeMessage[] = [];
  let arrived = Promise.withResolvers<void>();
  await channel.consume(queues![0]!.name, (message) => {
    inbox.push(message!);
    arrived.resolve();
  });
  const first = now();
  for (let count = 0; count < messages;) {
    const message = inbox.shift();
    if (!message) {
      arrived = Promise.withResolvers();
      await arrived.promise;
    } else if ((await take(message, ++count)) === count || count === messages) channel.ack(message, true);
  }
  return { first, last: now() };
}

const ways: Record<Way, () => Promise<Sent>> = {
  bridge,
  bare: () => consume(async (_, count) => (count % batch === 0 ? count : 0)),
  async single() {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    return consume(async ({ content }, count) => {
      const text = `insert into analytics_jobs (kind, payload) values ('noop', $1)`;
      await client.query({ name: 'insert', text, values: [content.toString()] });
      return count;
    });
  },
};

listen({
  async go() {
    say('sent', await ways[way]());
  },
  end: () => process.exit(0),
});
say('ready');
