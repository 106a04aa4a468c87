import { group } from './group.ts';
import { integer, list, text, url } from './values.ts';

/** Whom alerts are sent to, and whom the fleet tells that it works. */
export const alerts = group({
  settings: {
    ALERT_EMAIL: list
      .refine((all) => all.length <= 10 && all.every((each) => /^\S+@\S+$/.test(each)), 'must be at most ten addresses')
      .optional(),
    ALERT_SLACK_CHANNEL: text.regex(/^[^\s,]{1,100}$/, 'must be one channel').optional(),
    ALERT_WEBHOOK_URL: url.optional().meta({ secret: true }),
    ALERT_DIGEST_MINUTES: integer(1, 1_440).default(15),
    ALERT_SWEEP_INTERVAL: integer(100, 600_000).default(15_000),
    ALERT_OUTAGE_AFTER: integer(1_000, 3_600_000).default(60_000),
    FLEET_PING_URL: url.optional().meta({ secret: true }),
  },
  faults: (given) => [
    ...('ALERT_SLACK_CHANNEL' in given && !('SLACK_BOT_TOKEN' in given)
      ? ['SLACK_BOT_TOKEN: is missing, while ALERT_SLACK_CHANNEL is set']
      : []),
    ...('ALERT_WEBHOOK_URL' in given && !('WEBHOOK_SECRET' in given)
      ? ['WEBHOOK_SECRET: is missing, while ALERT_WEBHOOK_URL is set']
      : []),
  ],
  read: (env) => ({
    alerts: {
      email: env.ALERT_EMAIL ?? [],
      slackChannel: env.ALERT_SLACK_CHANNEL,
      webhookUrl: env.ALERT_WEBHOOK_URL,
      /** How long people hear no more of an open alert. */
      digestMs: env.ALERT_DIGEST_MINUTES * 60_000,
      sweepMs: env.ALERT_SWEEP_INTERVAL,
      /** A process that has not reached Postgres for so long says so by itself. */
      outageAfterMs: env.ALERT_OUTAGE_AFTER,
      fleetPingUrl: env.FLEET_PING_URL,
    },
  }),
});
