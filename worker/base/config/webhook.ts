import { isIP } from 'node:net';
import { group } from './group.ts';
import { orderFaults } from './order.ts';
import { flag, integer, list, secret } from './values.ts';

const networks = list.refine((all) => all.every(isNetwork), 'must be networks such as 10.1.0.0/16,127.0.0.1');

/** Webhooks: requests to addresses that users name. */
export const webhook = group({
  settings: {
    WEBHOOK_PROVIDERS: list.optional(),
    WEBHOOK_SECRET: secret,
    WEBHOOK_ALLOW: networks.optional(),
    WEBHOOK_ALLOW_HTTP: flag.optional(),
    WEBHOOK_DISABLE_HOURS: integer(1, 8_760).default(120),
    WEBHOOK_RATE: integer(1, 100_000).default(100),
    WEBHOOK_TIMEOUT: integer(100, 600_000).default(20_000),
  },
  faults: (given, env) =>
    orderFaults('WEBHOOK_PROVIDERS', env?.WEBHOOK_PROVIDERS, { standard: ['WEBHOOK_PROVIDERS'] }, given),
  read: (env, { production }) => ({
    webhook: {
      /** In the order in which they are tried. Undefined: all that are configured. */
      providers: env.WEBHOOK_PROVIDERS,
      /** In development a copy of production's data must not reach production's receivers. */
      sends: production || Boolean(env.WEBHOOK_PROVIDERS ?? env.WEBHOOK_SECRET ?? env.WEBHOOK_ALLOW),
      /** Signs what goes to a URL of which the job has no secret. */
      secret: env.WEBHOOK_SECRET,
      /** Networks that may be written to although they are not public. */
      allow: env.WEBHOOK_ALLOW ?? [],
      httpsOnly: production && !env.WEBHOOK_ALLOW_HTTP,
      disableAfterHours: env.WEBHOOK_DISABLE_HOURS,
      perSecond: env.WEBHOOK_RATE,
      timeoutMs: env.WEBHOOK_TIMEOUT,
    },
  }),
});

function isNetwork(text: string): boolean {
  const [, address = '', bits = '0'] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const family = isIP(address);
  return family > 0 && Number(bits) <= (family === 4 ? 32 : 128);
}
