import type { Channel, ChannelModel } from 'amqplib';
import type { RabbitmqConfig, RabbitmqQueue } from '../../base/config/rabbitmq.ts';
import type { Log } from '../../base/log.ts';

/** The exchange, the queues and their bindings. What exists is used as it is: declaring it anew could be refused. */

/** The queues that are consumed. @param queues of Rowmill */
export const queuesOf = (config: Pick<RabbitmqConfig, 'queues'>, queues: readonly string[]): RabbitmqQueue[] =>
  config.queues ?? queues.map((queue) => ({ name: `rowmill.${queue}`, keys: [`${queue}.#`] }));

/** Makes what is missing. */
export async function makeTopology(
  connection: ChannelModel,
  config: RabbitmqConfig,
  queues: readonly RabbitmqQueue[],
  log: Log,
): Promise<void> {
  const { exchange } = config;
  if (queues.some(({ keys }) => keys.length > 0))
    await make(
      connection,
      (channel) => channel.checkExchange(exchange),
      (channel) => channel.assertExchange(exchange, 'topic', { durable: true }),
    );
  for (const { name, keys } of queues) {
    await makeQueue(connection, config, name);
    await onChannel(connection, async (channel) => {
      for (const key of keys) await channel.bindQueue(name, exchange, key);
    }).catch((error: unknown) => log.warn({ err: error, queue: name }, 'cannot bind a queue of RabbitMQ'));
  }
}

export async function makeQueue(connection: ChannelModel, { queueType }: RabbitmqConfig, name: string): Promise<void> {
  const options = { durable: true, ...(queueType ? { arguments: { 'x-queue-type': queueType } } : {}) };
  await make(
    connection,
    (channel) => channel.checkQueue(name),
    (channel) => channel.assertQueue(name, options),
  );
}

type Work<T> = (channel: Channel) => Promise<T>;

async function make(connection: ChannelModel, check: Work<unknown>, declare: Work<unknown>): Promise<void> {
  if ((await orMissing(onChannel(connection, check))) === undefined) await onChannel(connection, declare);
}

/** Undefined if there is none. @throws if RabbitMQ says something else */
export async function orMissing<T>(found: Promise<T>): Promise<T | undefined> {
  return found.catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && Number(error.code) === 404) return undefined;
    throw error;
  });
}

/** On a channel of its own: RabbitMQ closes it if it refuses. */
export async function onChannel<T>(connection: ChannelModel, work: Work<T>): Promise<T> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  const result = await work(channel);
  await channel.close();
  return result;
}
