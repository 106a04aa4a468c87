import type { Config } from '../../base/config/config.ts';
import { UnknownOutcome } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import { request, type Answer } from '../../base/http/request.ts';
import type { Sender } from '../sender.ts';
import { judgeStatus, judgeWord } from './errors.ts';
import type { SlackMessage } from './message.ts';

const service = {
  code: 'slack',
  name: 'Slack',
  dependency: 'slack',
  settings: { address: 'SLACK_API_URL', secret: 'SLACK_BOT_TOKEN' },
} satisfies Service;

/**
 * Messages of a bot, to any channel that it was invited to. https://docs.slack.dev/reference/methods/chat.postMessage
 * @returns undefined without a token
 */
export function createSlackBot({ slack }: Pick<Config, 'slack'>): Sender<SlackMessage> | undefined {
  const { bot, timeoutMs } = slack;
  if (!bot) return undefined;
  const call = async (method: string, body: object, signal: AbortSignal) => {
    const answer = await request(new URL(`${bot.url}/${method}`), {
      service,
      method: 'POST',
      headers: { authorization: `Bearer ${bot.token}`, 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify(body),
      timeoutMs,
      signal,
    });
    return read(answer);
  };
  return {
    name: 'bot',
    address: new URL(bot.url).host,
    // A repeat has the same client_msg_id.
    repeatable: true,
    refuses: ({ channel = bot.channel }) =>
      channel ? undefined : 'payload.slack.channel: is missing, and SLACK_CHANNEL is not set',
    // https://docs.slack.dev/apis/web-api/rate-limits: one message a second for each channel
    rate: ({ channel = bot.channel }) => ({ key: `slack ${channel}`, perSecond: 1 }),
    async send({ channel = bot.channel, ...message }, { key, signal }) {
      const said = await call('chat.postMessage', { channel, ...message, client_msg_id: key }, signal);
      const name = `${String(said.channel)} ${String(said.ts)}`;
      return /^\w{1,60} [\d.]{1,60}$/.test(name) ? { provider_message_id: name } : {};
    },
    async check({ signal }) {
      const { scopes } = await call('auth.test', {}, signal);
      if (scopes && !scopes.split(/\s*,\s*/).includes('chat:write')) return 'the bot has no right to post: chat:write';
    },
  };
}

type Said = { ok?: unknown; error?: unknown; ts?: unknown; channel?: unknown };

/** @throws what the answer means, if it is no success */
function read(answer: Answer): Said & { scopes: string | undefined } {
  if (answer.status !== 200) throw judgeStatus(service, answer);
  const said = parse(answer.text);
  const word = typeof said.error === 'string' && /^[a-z_]{1,60}$/.test(said.error) ? said.error : '';
  // A message with this client_msg_id was posted, and deleted since.
  const isRepeat = word === 'duplicate_message_not_found';
  if (said.ok !== true && !isRepeat) throw judgeWord(word || 'an error', service, answer);
  const scopes = answer.headers['x-oauth-scopes'];
  return { ...said, scopes: typeof scopes === 'string' ? scopes : undefined };
}

function parse(text: string): Said {
  try {
    const said = JSON.parse(text) as Said | null;
    if (typeof said === 'object' && said !== null) return said;
  } catch {
    // The same as any other answer that nobody understands.
  }
  throw new UnknownOutcome('Slack answered what is no JSON');
}
