import { z } from 'zod';
import { group } from './group.ts';
import { flag, integer, list, text } from './values.ts';

/** A queue of RabbitMQ whose messages become jobs, and the routing keys that are bound to it. */
export type RabbitmqQueue = { name: string; keys: string[] };

export type RabbitmqConfig = {
  url: string;
  exchange: string;
  /** Undefined: one for each queue of Rowmill. */
  queues: RabbitmqQueue[] | undefined;
  /** Of queues that do not exist yet. Undefined: the server's default. */
  queueType: 'classic' | 'quorum' | undefined;
  /** How many messages RabbitMQ sends ahead. */
  prefetch: number;
  /** The most messages of a transaction. */
  batch: number;
  /** Whether dead letters are published, too. */
  dead: boolean;
};

const isAddress = (value: string) => {
  const address = URL.parse(value);
  return address !== null && /^amqps?:$/.test(address.protocol) && address.hostname !== '';
};

/** RabbitMQ, whose messages become jobs. */
export const rabbitmq = group({
  settings: {
    RABBITMQ_URL: text.refine(isAddress, 'must be amqp(s)://user:password@host:port/vhost').optional(),
    RABBITMQ_EXCHANGE: text.max(255).optional(),
    RABBITMQ_QUEUES: list
      .transform((all, context) => {
        const read = all.map((one) => /^([^=]{1,200})(?:=(.+))?$/.exec(one));
        if (all.length > 0 && read.every((each) => each !== null))
          return read.map(([, name, keys]): RabbitmqQueue => ({ name: name!.trim(), keys: keysOf(keys) }));
        context.addIssue(
          'must be queues and their routing keys, such as uploads=media.#,mails=notification.email+otp.*',
        );
        return z.NEVER;
      })
      .optional(),
    RABBITMQ_QUEUE_TYPE: z.enum(['classic', 'quorum']).optional(),
    RABBITMQ_PREFETCH: integer(1, 2_000).optional(),
    RABBITMQ_BATCH: integer(1, 2_000).optional(),
    RABBITMQ_DEAD: flag.optional(),
  },
  faults: (given) =>
    'RABBITMQ_URL' in given
      ? []
      : Object.keys(given)
          .filter((name) => /^RABBITMQ_(EXCHANGE|QUEUES|QUEUE_TYPE|PREFETCH|BATCH|DEAD)$/.test(name))
          .map((name) => `RABBITMQ_URL: is missing, while ${name} is set`),
  read: (env) => ({
    rabbitmq: env.RABBITMQ_URL
      ? ({
          url: env.RABBITMQ_URL,
          exchange: env.RABBITMQ_EXCHANGE ?? 'sup_exchange',
          queues: env.RABBITMQ_QUEUES,
          queueType: env.RABBITMQ_QUEUE_TYPE,
          prefetch: env.RABBITMQ_PREFETCH ?? 500,
          batch: env.RABBITMQ_BATCH ?? 250,
          dead: env.RABBITMQ_DEAD ?? false,
        } satisfies RabbitmqConfig)
      : undefined,
  }),
});

const keysOf = (keys: string | undefined) =>
  (keys ?? '')
    .split('+')
    .map((key) => key.trim())
    .filter(Boolean);
