import { randomUUID } from 'node:crypto';
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import amqplib, { type ChannelModel, type ConfirmChannel } from 'amqplib';
import type { RabbitmqConfig } from '../../worker/base/config/rabbitmq.ts';

export const rabbitmqUrl = process.env['TEST_RABBITMQ_URL'] ?? 'amqp://localhost:5672';

/** Why tests with RabbitMQ are skipped, or false. */
export const noRabbitmq: string | false = await amqplib.connect(rabbitmqUrl, { timeout: 5_000 }).then(
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

export async function openBroker(): Promise<Broker> {
  const connection = await amqplib.connect(rabbitmqUrl);
  connection.on('error', () => {});
  const channel = await connection.createConfirmChannel();
  const exchange = `test_${randomUUID().slice(0, 8)}`;
  const queue = `${exchange}.all`;
  const config = {
    url: rabbitmqUrl,
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

/** What stands between a bridge and RabbitMQ. */
export type Wire = {
  url: string;
  /** What the bridge sends does not arrive any more. */
  mute(): void;
  /** Ends the connections; new ones work. */
  cut(): void;
  /** Sends this to RabbitMQ, as if the bridge did. */
  inject(bytes: Buffer): void;
  close(): void;
};

/** @param delayMs how long a byte is on its way */
export async function startWire(delayMs = 0): Promise<Wire> {
  const { hostname, port, pathname } = new URL(rabbitmqUrl);
  const pairs = new Set<{ client: Socket; server: Socket; muted: boolean }>();
  const listener = createServer((client) => {
    const pair = { client, server: connectTcp(Number(port || 5672), hostname), muted: false };
    pairs.add(pair);
    const later = (work: () => unknown) => void (delayMs > 0 ? setTimeout(work, delayMs) : work());
    client.on('data', (bytes) => pair.muted || later(() => pair.server.write(bytes)));
    pair.server.on('data', (bytes) => later(() => client.write(bytes)));
    for (const socket of [client, pair.server])
      socket
        .on('error', () => {})
        .on('close', () => {
          pairs.delete(pair);
          // What was sent before arrives.
          later(() => (client.destroy(), pair.server.destroy()));
        });
  });
  await once(listener.listen(0, '127.0.0.1'), 'listening');
  const each = (work: (pair: { client: Socket; server: Socket; muted: boolean }) => void) => () => pairs.forEach(work);
  const cut = each(({ client, server }) => (client.destroy(), server.destroy()));
  return {
    url: `amqp://127.0.0.1:${(listener.address() as AddressInfo).port}${pathname}`,
    mute: each((pair) => void (pair.muted = true)),
    cut,
    inject: (bytes) => each(({ server }) => server.write(bytes))(),
    close: () => {
      cut();
      listener.close();
    },
  };
}
