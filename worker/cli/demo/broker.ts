import { randomUUID } from 'node:crypto';
import { messageOf } from '../../base/errors.ts';
import { connectTo, type Connection } from '../../bridges/rabbitmq/connect.ts';
import { Failed } from '../faults.ts';
import type { Published } from './published.ts';

const connectMs = 10_000;
/** A demo that is killed leaves nothing: its queue ends when nobody has used it for so long, and so the exchange. */
const unusedMs = 300_000;

/** @throws Failed that says how to start one */
export async function reachRabbitmq(url: string): Promise<Connection> {
  try {
    const connection = await connectTo(url, AbortSignal.timeout(connectMs));
    connection.on('error', () => {});
    return connection;
  } catch (error) {
    throw new Failed(
      `No RabbitMQ can be used at ${new URL(url).host}: ${messageOf(error)}\n` +
        'Start one, and run this again:\n' +
        '  docker run --rm -p 5672:5672 rabbitmq:4\n' +
        'or say where one is: RABBITMQ_URL=amqp://user:password@host:5672',
    );
  }
}

/** An exchange and a queue of the demo's own: nothing else at this RabbitMQ is touched. */
export type DemoQueue = {
  exchange: string;
  queue: string;
  /** Resolves when RabbitMQ has them. */
  publish(messages: readonly Published[]): Promise<void>;
  /** Messages that no consumer has. */
  left(): Promise<number>;
  close(): Promise<void>;
};

export async function makeQueue(connection: Connection, keys: string): Promise<DemoQueue> {
  const exchange = `rowmill_demo_${randomUUID().slice(0, 8)}`;
  const queue = `${exchange}.notification`;
  const channel = await connection.createConfirmChannel();
  await channel.assertExchange(exchange, 'topic', { durable: true, autoDelete: true });
  await channel.assertQueue(queue, { durable: true, expires: unusedMs });
  await channel.bindQueue(queue, exchange, keys);
  return {
    exchange,
    queue,
    async publish(messages) {
      for (const { key, body, options } of messages) {
        const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
        channel.publish(exchange, key, bytes, { persistent: true, contentType: 'application/json', ...options });
      }
      await channel.waitForConfirms();
    },
    left: async () => (await channel.checkQueue(queue)).messageCount,
    // The exchange ends with its last queue.
    close: async () => void (await channel.deleteQueue(queue)),
  };
}
