import type { Config } from '../../base/config/config.ts';
import type { Service } from '../../base/http/fetch.ts';
import { request } from '../../base/http/request.ts';
import type { Sender } from '../sender.ts';
import { judgeStatus } from './errors.ts';
import type { SlackMessage } from './message.ts';

const service = {
  code: 'slack',
  name: 'Slack',
  dependency: 'slack',
  settings: { address: 'SLACK_WEBHOOK_URL', secret: 'SLACK_WEBHOOK_URL' },
} satisfies Service;

/**
 * Messages to the one channel of an incoming webhook.
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
 * @returns undefined without its address
 */
export function createSlackWebhook({ slack }: Pick<Config, 'slack'>): Sender<SlackMessage> | undefined {
  const { webhookUrl, timeoutMs } = slack;
  if (!webhookUrl) return undefined;
  const url = new URL(webhookUrl);
  const post = (message: object, signal: AbortSignal) =>
    request(url, {
      service,
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify(message),
      timeoutMs,
      signal,
    });
  return {
    name: 'webhook',
    address: url.host,
    // Slack has no key for these: a repeat of which nobody knew is seen twice.
    repeatable: true,
    refuses: ({ channel }) =>
      channel ? 'payload.slack.channel: an incoming webhook has a channel of its own; set SLACK_BOT_TOKEN' : undefined,
    rate: () => ({ key: 'slack webhook', perSecond: 1 }),
    async send(message, { signal }) {
      const answer = await post(message, signal);
      if (answer.status < 200 || answer.status > 299) throw judgeStatus(service, answer);
      return {};
    },
    /** A message without a text is refused as such: that shows that the address is right. */
    async check({ signal }) {
      const answer = await post({}, signal);
      if (answer.status !== 400) throw judgeStatus(service, answer);
    },
  };
}
