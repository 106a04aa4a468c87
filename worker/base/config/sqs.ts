import { z } from 'zod';
import { group } from './group.ts';
import { list, secret, text, url } from './values.ts';

/** A queue of SQS, and what its messages are where they do not say it. */
export type SqsQueue = { url: string; key: string | undefined };

export type SqsConfig = {
  queues: SqsQueue[];
  region: string;
  /** Undefined: AWS itself. */
  endpoint: string | undefined;
  /** Undefined: the SDK finds credentials itself. */
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined;
  /** The attribute of a message that names its kind. */
  keyAttribute: string;
};

const channels = ['email', 'sms', 'whatsapp', 'push', 'slack', 'webhook'] as const;
/** A notification system names the setting of a topic by it, with its dot; most shells cannot set such a name. */
const topics = Object.fromEntries(
  channels.flatMap((channel) =>
    ['.', '_'].map((dot) => [`NOTIFICATIONS${dot}${channel.toUpperCase()}_QUEUE_URL`, `notifications.${channel}`]),
  ),
);

/** SQS, whose messages become jobs. */
export const sqs = group({
  settings: {
    SQS_QUEUE_URL: list
      .transform((all, context) => {
        const read = all.map((one) => /^(?:([\w.*-]+)=)?(https?:\/\/\S+)$/.exec(one));
        if (all.length > 0 && read.every((each) => each !== null))
          return read.map(([, key, address]): SqsQueue => ({ url: address!, key }));
        context.addIssue('must be addresses of queues, each alone or with its kind, such as media.image=https://...');
        return z.NEVER;
      })
      .optional(),
    ...(Object.fromEntries(Object.keys(topics).map((name) => [name, url.optional()])) as Record<
      string,
      z.ZodOptional<typeof url>
    >),
    SQS_ENDPOINT: url.optional(),
    SQS_REGION: text.optional(),
    SQS_KEY_ATTRIBUTE: text.max(256).optional(),
    AWS_REGION: text.optional(),
    AWS_ACCESS_KEY_ID: text.optional(),
    AWS_SECRET_ACCESS_KEY: secret,
    AWS_SESSION_TOKEN: secret,
  },
  read(env) {
    const given = env as Record<string, string | undefined>;
    const queues = [
      ...(env.SQS_QUEUE_URL ?? []),
      ...Object.entries(topics).flatMap(([name, key]) => (given[name] ? [{ url: given[name], key }] : [])),
    ];
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: token } = env;
    return {
      sqs:
        queues.length > 0
          ? ({
              queues,
              region: env.SQS_REGION ?? env.AWS_REGION ?? 'us-east-1',
              endpoint: env.SQS_ENDPOINT,
              credentials:
                accessKeyId && secretAccessKey
                  ? { accessKeyId, secretAccessKey, ...(token ? { sessionToken: token } : {}) }
                  : undefined,
              keyAttribute: env.SQS_KEY_ATTRIBUTE ?? 'routingKey',
            } satisfies SqsConfig)
          : undefined,
    };
  },
});
