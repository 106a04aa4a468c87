import { z } from 'zod';
import { PermanentError } from '../../../base/errors.ts';
import type { PhoneMessage } from '../../../providers/twilio/message.ts';
import { onOneLine, type Words } from '../../../templates/template.ts';
import type { Channel } from '../delivery/deliver.ts';
import { noticeFields } from '../delivery/notice.ts';

/** What SMS and WhatsApp have in common: a message to one phone number. */

type PhoneChannel = 'sms' | 'whatsapp';

const most = 1_600;
const numberAndText = z.object({ to: z.string().optional(), body: z.string().max(200_000).optional() });
const given = z.union([z.string(), numberAndText]).optional();

const fields = z.object({
  ...noticeFields,
  phoneNumber: z.string().optional(),
  phone_number: z.string().optional(),
  phone: z.string().optional(),
  /** The number, or with it the text. */
  sms: given,
  whatsapp: given,
});

type Payload = z.output<typeof fields>;

/** Of the channel's payload. An event has the number in its payload. */
export const phonePayload = (channel: PhoneChannel) =>
  (fields.omit(channel === 'sms' ? { whatsapp: true } : { sms: true }) as unknown as typeof fields)
    .superRefine((payload, context) => {
      if (numberIn(channel, payload) || payload.notification_id !== undefined) return;
      context.addIssue({ code: 'custom', path: ['phoneNumber'], message: 'is missing: the number to send to' });
    })
    .transform((payload) => {
      const own = payload[channel];
      return typeof own === 'object' && own.body !== undefined ? { ...payload, body: own.body } : payload;
    });

/** Numbers, and what is told. */
export const phoneSensitive = 'phoneNumber phone_number phone sms whatsapp title body payload templateData data'.split(
  ' ',
);

export const phoneChannel = (channel: PhoneChannel): Channel<Payload, PhoneMessage> => ({
  name: channel,
  senders: (app) => app[channel],
  personal: true,
  recipientOf: (payload) => recipientOf(channel, payload),
  async compose(payload, to, { app, notice: { template_id = '', variables }, words }) {
    const { contents } = app.config.whatsapp;
    const named = channel === 'whatsapp' ? contents.get(template_id) : undefined;
    const id = /^HX[0-9a-f]{32}$/i.test(template_id) ? template_id : named;
    if (id) return { to, content: { id, variables: linesOf(variables) }, ...validity(payload) };
    return { to, text: textOf(await words()), ...validity(payload) };
  },
});

const validity = ({ ttl }: Payload) => (ttl === undefined ? {} : { validFor: ttl });

/** Each variable as text on one line: WhatsApp refuses others. */
const linesOf = (variables: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, onOneLine(asText(value))]));

const asText = (value: unknown) =>
  typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value);

/** @throws PermanentError `invalid_payload`, `message_refused` */
function textOf({ text }: Words): string {
  if (!text) throw new PermanentError('invalid_payload', 'payload.body: has no text');
  if (text.length <= most) return text;
  throw new PermanentError('message_refused', `The message has ${text.length} characters; at most ${most} can be sent`);
}

/** @throws PermanentError `invalid_recipient`, `invalid_payload` */
function recipientOf(channel: PhoneChannel, payload: Payload): string {
  const [name, value] = numberIn(channel, payload) ?? [];
  if (!name) throw new PermanentError('invalid_payload', 'payload.phoneNumber: is missing');
  const spelt = typeof value === 'string' ? value.trim() : '';
  // As Twilio writes it.
  const number = channel === 'whatsapp' ? spelt.replace(/^whatsapp:/, '') : spelt;
  if (/^\+[1-9]\d{6,14}$/.test(number)) return number;
  throw new PermanentError('invalid_recipient', `payload.${name}: is no number in the form of +14155550100 (E.164)`);
}

/** The number, and the field that has it. */
function numberIn(channel: PhoneChannel, payload: Partial<Payload>): [string, unknown] | undefined {
  const own = payload[channel];
  const places: [string, unknown][] = [
    typeof own === 'object' ? [`${channel}.to`, own.to] : [channel, own],
    ...(['phoneNumber', 'phone_number', 'phone'] as const).flatMap((name): [string, unknown][] => [
      [name, payload[name]],
      [`payload.${name}`, payload.payload?.[name]],
    ]),
  ];
  return places.find(([, value]) => value !== undefined && value !== null);
}
