import { createSlackBot } from '../../../worker/providers/slack/bot.ts';
import { createSlackWebhook } from '../../../worker/providers/slack/webhook.ts';
import { startSlack } from '../../support/slack.ts';
import { canary, type Answer, type Expected, type Row } from './row.ts';

const token = 'xoxb-slack-secret-4ab7';
const path = '/services/T0/B0/slack-secret-77e1';

const word = (error: string, headers: Record<string, string> = {}): Answer => ({
  status: 200,
  headers,
  body: JSON.stringify({ ok: false, error, needed: `${canary} ${token}` }),
});
const words = (expected: Expected, ...errors: string[]): Row['cases'] =>
  errors.map((error) => [error, word(error), expected]);

/** https://docs.slack.dev/reference/methods/chat.postMessage#errors */
export const slackBot: Row = {
  name: 'slack/bot',
  create: createSlackBot,
  message: { channel: canary, text: canary },
  secrets: [token],
  gone: { SLACK_API_URL: 'http://127.0.0.1:1' },
  impatient: { SLACK_TIMEOUT: '500' },
  locked: word('invalid_auth'),
  endless: 'unknown',

  async start() {
    const vendor = await startSlack();
    return {
      ...vendor,
      env: { SLACK_BOT_TOKEN: token, SLACK_API_URL: vendor.url },
      taken: () => vendor.taken.map(({ body }) => JSON.parse(body).client_msg_id),
    };
  },

  cases: [
    ...words('permanent invalid_recipient', 'channel_not_found', 'not_in_channel', 'is_archived'),
    ...words('permanent message_refused', 'msg_too_long', 'msg_blocks_too_long', 'no_text', 'invalid_blocks'),
    ...words('permanent message_refused', 'too_many_attachments', 'restricted_action_read_only_channel'),
    ...words('fault slack_unauthorized', 'invalid_auth', 'account_inactive', 'token_revoked', 'missing_scope'),
    ...words('fault slack_unauthorized', 'not_allowed_token_type', 'ekm_access_denied'),
    ...words('unknown', 'internal_error', 'fatal_error'),
    ...words('retryable slack_unavailable', 'service_unavailable', 'request_timeout', 'team_added_to_org'),
    ...words('retryable slack_rate_limited', 'ratelimited', 'rate_limited', 'message_limit_exceeded'),
    ...words('retryable slack_refused', 'something_new', `Not ${canary}`),
    ['ratelimited, with a time', word('ratelimited', { 'retry-after': '30' }), 'snooze 30000'],
    ['too many requests', { status: 429, headers: { 'retry-after': '3' } }, 'snooze 3000'],
    ['not a word of JSON', { status: 200, body: `<html>${canary}` }, 'unknown'],
    ['wrong address', { status: 404, body: `<html>${canary}` }, 'fault slack_unauthorized'],
    ['redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'fault slack_unavailable'],
    ['server error', { status: 500 }, 'retryable slack_unavailable'],
    ['not available', { status: 503 }, 'retryable slack_unavailable'],
    ['no answer behind the gateway', { status: 504 }, 'unknown'],
  ],
};

/** https://docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks */
export const slackWebhook: Row = {
  name: 'slack/webhook',
  create: createSlackWebhook,
  message: { text: canary },
  keyless: true,
  secrets: [path],
  gone: { SLACK_WEBHOOK_URL: `http://127.0.0.1:1${path}` },
  impatient: { SLACK_TIMEOUT: '500' },
  locked: { status: 404, body: 'no_service' },
  endless: 'sent',

  async start() {
    const vendor = await startSlack();
    return {
      ...vendor,
      env: { SLACK_WEBHOOK_URL: vendor.url + path },
      taken: () => vendor.taken.map(({ body }) => body),
    };
  },

  cases: [
    ['invalid_payload', { status: 400, body: 'invalid_payload' }, 'permanent message_refused'],
    ['invalid_blocks', { status: 400, body: `invalid_blocks ${canary}` }, 'permanent message_refused'],
    ['invalid_token', { status: 403, body: 'invalid_token' }, 'fault slack_unauthorized'],
    ['action_prohibited', { status: 403, body: 'action_prohibited' }, 'fault slack_unauthorized'],
    ['no_service', { status: 404, body: 'no_service' }, 'fault slack_unauthorized'],
    ['channel_not_found', { status: 404, body: 'channel_not_found' }, 'fault slack_unauthorized'],
    ['channel_is_archived', { status: 410, body: 'channel_is_archived' }, 'fault slack_unauthorized'],
    ['wrong method', { status: 405 }, 'fault slack_unavailable'],
    ['too many requests', { status: 429, headers: { 'retry-after': '30' } }, 'snooze 30000'],
    ['too many requests, without a time', { status: 429, body: 'rate_limited' }, 'retryable slack_rate_limited'],
    ['rollup_error', { status: 500, body: 'rollup_error' }, 'retryable slack_unavailable'],
    ['no answer behind the gateway', { status: 504 }, 'unknown'],
  ],
};
