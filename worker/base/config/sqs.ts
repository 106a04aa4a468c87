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
  /** Undefined: 30 seconds. A long poll lasts 20. */
  requestTimeoutMs?: number;
};

const topics = {
  NOTIFICATIONS_EMAIL_QUEUE_URL: 'notifications.email',
  NOTIFICATIONS_SMS_QUEUE_URL: 'notifications.sms',
  NOTIFICATIONS_WHATSAPP_QUEUE_URL: 'notifications.whatsapp',
  NOTIFICATIONS_PUSH_QUEUE_URL: 'notifications.push',
  NOTIFICATIONS_SLACK_QUEUE_URL: 'notifications.slack',
  NOTIFICATIONS_WEBHOOK_QUEUE_URL: 'notifications.webhook',
} as const;
const topicNames = Object.keys(topics) as (keyof typeof topics)[];

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
    NOTIFICATIONS_EMAIL_QUEUE_URL: url.optional(),
    NOTIFICATIONS_SMS_QUEUE_URL: url.optional(),
    NOTIFICATIONS_WHATSAPP_QUEUE_URL: url.optional(),
    NOTIFICATIONS_PUSH_QUEUE_URL: url.optional(),
    NOTIFICATIONS_SLACK_QUEUE_URL: url.optional(),
    NOTIFICATIONS_WEBHOOK_QUEUE_URL: url.optional(),
    SQS_ENDPOINT: url.optional(),
    SQS_REGION: text.optional(),
    SQS_KEY_ATTRIBUTE: text.max(256).optional(),
    AWS_REGION: text.optional(),
    AWS_ACCESS_KEY_ID: text.optional(),
    AWS_SECRET_ACCESS_KEY: secret,
    AWS_SESSION_TOKEN: secret,
  },
  read(env) {
    const queues = [
      ...(env.SQS_QUEUE_URL ?? []),
      ...topicNames.flatMap((name) => (env[name] ? [{ url: env[name], key: topics[name] }] : [])),
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
