import { randomUUID } from 'node:crypto';
import amqplib, { type ChannelModel, type ConfirmChannel } from 'amqplib';
import type { RabbitmqConfig } from '../../worker/base/config/rabbitmq.ts';

export const rabbitmqUrl = process.env['TEST_RABBITMQ_URL'] ?? 'amqp://127.0.0.1:5672';

/** Why tests with RabbitMQ are skipped, or false. */
export const noRabbitmq: string | false = await amqplib.connect(rabbitmqUrl, { timeout: 30_000 }).then(
  async (connection) => (await connection.close(), false as const),
  () => `no RabbitMQ at ${rabbitmqUrl}`,
);

/** Names of a test's own at the broker, and a connection to publish by. */
export type Broker = {
  connection: ChannelModel;
  channel: ConfirmChannel;
  /** For a bridge, with one queue that has all keys. */
  config: RabbitmqConfig;
  exchange: string;
  queue: string;
  /** Resolves when RabbitMQ has them. */
  publish(messages: { key: string; body: unknown; options?: object }[]): Promise<void>;
  close(): Promise<void>;
};

export async function openBroker(url = rabbitmqUrl): Promise<Broker> {
  const connection = await amqplib.connect(url);
  connection.on('error', () => {});
  const channel = await connection.createConfirmChannel();
  const exchange = `test_${randomUUID().slice(0, 8)}`;
  const queue = `${exchange}.all`;
  const config = {
    url,
    exchange,
    queues: [{ name: queue, keys: ['#'] }],
    queueType: undefined,
    prefetch: 500,
    batch: 250,
    dead: false,
  };
  return {
    connection,
    channel,
    config,
    exchange,
    queue,
    async publish(messages) {
      for (const { key, body, options } of messages) {
        const bytes = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body));
        channel.publish(exchange, key, bytes, { persistent: true, ...options });
      }
      await channel.waitForConfirms();
    },
    async close() {
      const last = await connection.createChannel();
      await last.deleteQueue(queue);
      await last.deleteExchange(exchange);
      await connection.close();
    },
  };
}
