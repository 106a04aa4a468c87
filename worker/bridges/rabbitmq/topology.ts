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
  { exchange, queueType }: RabbitmqConfig,
  queues: readonly RabbitmqQueue[],
  log: Log,
): Promise<void> {
  const bound = queues.some(({ keys }) => keys.length > 0);
  if (bound && !(await exists(connection, (channel) => channel.checkExchange(exchange))))
    await onChannel(connection, (channel) => channel.assertExchange(exchange, 'topic', { durable: true }));
  const options = { durable: true, ...(queueType ? { arguments: { 'x-queue-type': queueType } } : {}) };
  for (const { name, keys } of queues) {
    if (!(await exists(connection, (channel) => channel.checkQueue(name))))
      await onChannel(connection, (channel) => channel.assertQueue(name, options));
    await onChannel(connection, async (channel) => {
      for (const key of keys) await channel.bindQueue(name, exchange, key);
    }).catch((error: unknown) => log.warn({ err: error, queue: name }, 'cannot bind a queue of RabbitMQ'));
  }
}

/** @throws if RabbitMQ says something else than that there is none */
async function exists(connection: ChannelModel, check: (channel: Channel) => Promise<unknown>): Promise<boolean> {
  try {
    await onChannel(connection, check);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && Number(error.code) === 404) return false;
    throw error;
  }
}

/** On a channel of its own: RabbitMQ closes it if it refuses. */
async function onChannel<T>(connection: ChannelModel, work: (channel: Channel) => Promise<T>): Promise<T> {
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  const result = await work(channel);
  await channel.close();
  return result;
}
