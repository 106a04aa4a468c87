import type { RabbitmqConfig } from '../../base/config/rabbitmq.ts';
import { connectTo } from './connect.ts';
import { onChannel, orMissing, queuesOf } from './topology.ts';

/** What is at RabbitMQ. Undefined: it does not exist. */
export type Found = {
  exchange: boolean;
  queues: { name: string; ready: number; consumers: number }[];
  missing: string[];
  /** Kinds whose routing key no queue is bound to. */
  unbound: string[];
};

/**
 * Looks, and changes nothing.
 * @param rowmill names of our queues, and of the kinds
 * @throws what RabbitMQ says
 */
export async function examineRabbitmq(
  config: RabbitmqConfig,
  rowmill: { queues: readonly string[]; kinds: readonly string[] },
  signal: AbortSignal,
): Promise<Found> {
  const connection = await connectTo(config.url, signal);
  connection.on('error', () => {});
  try {
    const all = queuesOf(config, rowmill.queues);
    const exchange = await orMissing(onChannel(connection, (channel) => channel.checkExchange(config.exchange)));
    const found: Found = { exchange: exchange !== undefined, queues: [], missing: [], unbound: [] };
    for (const { name } of all) {
      const queue = await orMissing(onChannel(connection, (channel) => channel.checkQueue(name)));
      if (queue) found.queues.push({ name, ready: queue.messageCount, consumers: queue.consumerCount });
      else found.missing.push(name);
    }
    // Of a queue without keys it is not known what it is bound to.
    if (all.every(({ keys }) => keys.length > 0))
      found.unbound = rowmill.kinds.filter((kind) => !all.some(({ keys }) => keys.some((key) => fits(key, kind))));
    return found;
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Whether a topic exchange routes a message with this key by this binding: `*` is one word, `#` any number. */
function fits(binding: string, key: string): boolean {
  const words = (from: string[], to: string[]): boolean => {
    const [first, ...rest] = from;
    if (first === undefined) return to.length === 0;
    if (first === '#') return words(rest, to) || (to.length > 0 && words(from, to.slice(1)));
    return to.length > 0 && (first === '*' || first === to[0]) && words(rest, to.slice(1));
  };
  return words(binding.split('.'), key.split('.'));
}
