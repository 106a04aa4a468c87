import { randomUUID } from 'node:crypto';
import { ChangeMessageVisibilityBatchCommand } from '@aws-sdk/client-sqs';
import amqplib, { type ConfirmChannel } from 'amqplib';
import { within } from '../../worker/base/deadline.ts';
import { startCloudflare } from './cloudflare.ts';
import { noRabbitmq, rabbitmqUrl } from './rabbitmq.ts';
import { openSqs } from './sqs.ts';

/** A queue of another system whose messages become jobs, as a bridge and a producer meet it. */
export type Source = {
  name: string;
  /** Why it cannot be tested here, or false. */
  missing: string | false;
  /** A message whose bridge has died comes again only after a minute. */
  slow?: true;
  open(url?: string): Promise<OpenSource>;
};

/** @param key where it is not media.image @param id for RabbitMQ: the others give each message one */
export type Sent = { body: string; key?: string | undefined; id?: string | undefined };

export type OpenSource = {
  /** Where it is: a bridge reaches it there, or by a wire. */
  url: string;
  /** The settings of a bridge that reaches it at this address. */
  env(url: string): Record<string, string>;
  /** Resolves when it has them. */
  send(messages: Sent[]): Promise<void>;
  /** Messages that are not acknowledged. RabbitMQ counts only those that no bridge has. */
  left(): Promise<number>;
  /** Delivers again what was delivered and is not acknowledged, whoever has it. RabbitMQ does so by itself. */
  again(): Promise<void>;
  close(): Promise<void>;
};

const rabbitmq = (type: 'classic' | 'quorum'): Source => ({
  name: `RabbitMQ, ${type}`,
  missing: noRabbitmq,
  async open(url = rabbitmqUrl) {
    const exchange = `test_${randomUUID().slice(0, 8)}`;
    const queue = `${exchange}.all`;
    /** On a connection of its own: a broker that is restarted closes those that are open. */
    async function onChannel<T>(work: (channel: ConfirmChannel) => Promise<T>): Promise<T> {
      const connection = await amqplib.connect(url, { timeout: 30_000 });
      connection.on('error', () => {});
      try {
        return await work(await connection.createConfirmChannel());
      } finally {
        // The promise of amqplib stays open if the broker goes away now.
        await within(
          5_000,
          connection.close().catch(() => {}),
        );
      }
    }
    await onChannel(async (channel) => {
      await channel.assertExchange(exchange, 'topic', { durable: true });
      await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': type } });
      await channel.bindQueue(queue, exchange, '#');
    });
    return {
      url,
      env: (address) => ({
        RABBITMQ_URL: address,
        RABBITMQ_EXCHANGE: exchange,
        RABBITMQ_QUEUES: `${queue}=#`,
      }),
      send: (messages) =>
        onChannel(async (channel) => {
          for (const { body, key = 'media.image', id } of messages)
            channel.publish(exchange, key, Buffer.from(body), { persistent: true, ...(id ? { messageId: id } : {}) });
          await channel.waitForConfirms();
        }),
      left: () => onChannel(async (channel) => (await channel.checkQueue(queue)).messageCount),
      again: async () => {},
      close: () =>
        onChannel(async (channel) => {
          await channel.deleteQueue(queue);
          await channel.deleteExchange(exchange);
        }),
    };
  },
});

/** These have no routing keys: a message whose kind is another than the setting's says so in its body. */
const enveloped = ({ body, key }: Sent) => (key ? `{"kind":${JSON.stringify(key)},"payload":${body}}` : body);

const sqs: Source = {
  name: 'SQS',
  missing: false,
  slow: true,
  async open() {
    const { client, server, name, url, config, left, close } = await openSqs();
    return {
      url: config.endpoint!,
      env: (address) => ({
        SQS_QUEUE_URL: `media.image=${url}`,
        SQS_ENDPOINT: address,
        AWS_REGION: config.region,
        AWS_ACCESS_KEY_ID: config.credentials!.accessKeyId,
        AWS_SECRET_ACCESS_KEY: config.credentials!.secretAccessKey,
      }),
      async send(messages) {
        for (const message of messages) server.sendMessage(name, enveloped(message));
      },
      left,
      async again() {
        const given = server.inspectQueue(name)!.messages.inflight;
        const entries = given.map(({ receiptHandle: ReceiptHandle }, n) => ({
          Id: String(n),
          ReceiptHandle,
          VisibilityTimeout: 0,
        }));
        for (let at = 0; at < entries.length; at += 10)
          await client.send(
            new ChangeMessageVisibilityBatchCommand({ QueueUrl: url, Entries: entries.slice(at, at + 10) }),
          );
      },
      close,
    };
  },
};

const cloudflare: Source = {
  name: 'Cloudflare Queues',
  missing: false,
  async open() {
    const { config, queue, send, left, endLeases, close } = await startCloudflare();
    return {
      url: config.url,
      env: (address) => ({
        CLOUDFLARE_API_URL: address.replace(/\/$/, ''),
        CLOUDFLARE_ACCOUNT_ID: config.account,
        CLOUDFLARE_QUEUES_TOKEN: config.token,
        CLOUDFLARE_QUEUE_ID: `media.image=${queue}`,
      }),
      send: async (messages) => messages.forEach((message) => send(enveloped(message))),
      left: async () => left(),
      again: async () => endLeases(),
      close,
    };
  },
};

export const sources: Record<string, Source> = {
  'rabbitmq-classic': rabbitmq('classic'),
  'rabbitmq-quorum': rabbitmq('quorum'),
  sqs,
  cloudflare,
};
