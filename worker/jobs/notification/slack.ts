import { z } from 'zod';
import { PermanentError } from '../../base/errors.ts';
import { escaped, type SlackMessage } from '../../providers/slack/message.ts';
import { plainText } from '../../templates/template.ts';
import { job, minutes } from '../../queue/job.ts';
import { deliver, type Channel } from './delivery/deliver.ts';
import { noticeFields, sensitiveFields } from './delivery/notice.ts';

const text = z.string().max(200_000).optional();

const payload = z.object({
  ...noticeFields,
  /** The channel, or with it a message in Slack's own form. An event has the channel in its payload. */
  slack: z
    .union([
      z.string(),
      z.object({
        channel: z.string().optional(),
        text,
        message: text,
        blocks: z.array(z.unknown()).optional(),
        attachments: z.array(z.unknown()).optional(),
        thread_ts: z.string().optional(),
        username: z.string().optional(),
        icon_emoji: z.string().optional(),
      }),
    ])
    .optional(),
  slack_channel: z.string().optional(),
  slackChannel: z.string().optional(),
});

type Payload = z.output<typeof payload>;

/** Posts a message to a channel of Slack. A repeat of a job that already posted is a no-op. */
export default job({
  name: 'notification.slack',
  payload,
  sensitive: [...sensitiveFields, 'slack.text', 'slack.message', 'slack.blocks', 'slack.attachments'],
  timeout: minutes(2),
  run: (context) => deliver(context, slack),
});

const slack: Channel<Payload, SlackMessage> = {
  name: 'slack',
  senders: (app) => app.slack,
  personal: false,
  recipientOf: (given) => channelOf(given) ?? 'the usual channel',
  ownContent: ({ slack: given }) => (typeof given === 'object' ? { ...given, channel: undefined } : undefined),
  async compose(given, _recipient, { notice, words }) {
    const { channel: _, text: own, message = own, ...form } = typeof given.slack === 'object' ? given.slack : {};
    const isWhole = message !== undefined || Boolean(form.blocks ?? form.attachments);
    const hasWords = Boolean(notice.template_id ?? notice.title ?? notice.body);
    const shown = isWhole && (message !== undefined || !hasWords) ? plainText(message ?? '') : textOf(await words());
    return { ...form, channel: channelOf(given), text: shown };
  },
};

const textOf = ({ subject, text: words }: { subject: string; text: string }) =>
  subject && subject !== words ? `*${escaped(subject)}*\n${escaped(words)}` : escaped(words);

/** Undefined: none is named. @throws PermanentError `invalid_recipient` */
function channelOf({ slack: given, slack_channel, slackChannel, payload: event }: Payload): string | undefined {
  const named = typeof given === 'object' ? given.channel : given;
  const found = named ?? slack_channel ?? slackChannel ?? event?.['slack_channel'] ?? event?.['channel'];
  if (found === undefined) return undefined;
  const trimmed = typeof found === 'string' ? found.trim() : '';
  if (!/^[^\s,]{1,100}$/.test(trimmed))
    throw new PermanentError('invalid_recipient', 'payload.slack.channel: is not the id or the name of one channel');
  return trimmed;
}
