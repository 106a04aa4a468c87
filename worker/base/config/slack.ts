import { group } from './group.ts';
import { orderFaults } from './order.ts';
import { integer, list, secret, text, url } from './values.ts';

const needs = { bot: ['SLACK_BOT_TOKEN'], webhook: ['SLACK_WEBHOOK_URL'] };

/** Slack, to which a bot posts, or an incoming webhook. */
export const slack = group({
  settings: {
    SLACK_PROVIDERS: list.optional(),
    SLACK_BOT_TOKEN: secret,
    SLACK_CHANNEL: text.max(200).optional(),
    SLACK_WEBHOOK_URL: url.optional().meta({ secret: true }),
    SLACK_API_URL: url.default('https://slack.com/api'),
    SLACK_TIMEOUT: integer(100, 600_000).default(15_000),
  },
  faults(given, env) {
    const faults = orderFaults('SLACK_PROVIDERS', env?.SLACK_PROVIDERS, needs, given);
    if ('SLACK_CHANNEL' in given && !('SLACK_BOT_TOKEN' in given))
      faults.push('SLACK_BOT_TOKEN: is missing, while SLACK_CHANNEL is set');
    return faults;
  },
  read: (env) => ({
    slack: {
      /** In the order in which they are tried. Undefined: all that are configured. */
      providers: env.SLACK_PROVIDERS,
      bot: env.SLACK_BOT_TOKEN
        ? {
            token: env.SLACK_BOT_TOKEN,
            /** For messages that name no channel. */
            channel: env.SLACK_CHANNEL,
            url: env.SLACK_API_URL,
          }
        : undefined,
      webhookUrl: env.SLACK_WEBHOOK_URL,
      timeoutMs: env.SLACK_TIMEOUT,
    },
  }),
});
