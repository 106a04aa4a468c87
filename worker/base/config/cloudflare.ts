import { z } from 'zod';
import { group } from './group.ts';
import { list, secret, text, url } from './values.ts';

/** A queue of Cloudflare, and what its messages are where they do not say it. */
export type CloudflareQueue = { id: string; key: string | undefined };

export type CloudflareConfig = { url: string; account: string; token: string; queues: CloudflareQueue[] };

/** Cloudflare Queues, whose messages become jobs. */
export const cloudflare = group({
  settings: {
    CLOUDFLARE_ACCOUNT_ID: text.regex(/^[0-9a-f]{32}$/i, 'must be 32 hexadecimal digits').optional(),
    CLOUDFLARE_QUEUES_TOKEN: secret,
    CLOUDFLARE_QUEUE_ID: list
      .transform((all, context) => {
        const read = all.map((one) => /^(?:([\w.*-]+)=)?([0-9a-f]{32})$/i.exec(one));
        if (all.length > 0 && read.every((each) => each !== null))
          return read.map(([, key, id]): CloudflareQueue => ({ id: id!, key }));
        context.addIssue('must be ids of queues, 32 hexadecimal digits, each alone or such as media.image=...');
        return z.NEVER;
      })
      .optional(),
    CLOUDFLARE_API_URL: url.optional(),
  },
  together: { 'Cloudflare Queues': ['CLOUDFLARE_ACCOUNT_ID', 'CLOUDFLARE_QUEUES_TOKEN', 'CLOUDFLARE_QUEUE_ID'] },
  read: (env) => ({
    cloudflare:
      env.CLOUDFLARE_ACCOUNT_ID && env.CLOUDFLARE_QUEUES_TOKEN && env.CLOUDFLARE_QUEUE_ID
        ? ({
            url: env.CLOUDFLARE_API_URL ?? 'https://api.cloudflare.com/client/v4',
            account: env.CLOUDFLARE_ACCOUNT_ID,
            token: env.CLOUDFLARE_QUEUES_TOKEN,
            queues: env.CLOUDFLARE_QUEUE_ID,
          } satisfies CloudflareConfig)
        : undefined,
  }),
});
