import type { Config } from '../../base/config/config.ts';
import { deliveryIdIn, type CallbackReader, type Report } from '../report.ts';
import { undelivered } from './errors.ts';

/**
 * Twilio's status callbacks, and the messages that a recipient sends to our number: STOP and START.
 * https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
 * @returns undefined if it is not configured
 */
export function createTwilioCallbacks({ twilio, publicUrl }: Pick<Config, 'twilio' | 'publicUrl'>) {
  if (!twilio || !publicUrl) return undefined;
  return {
    name: 'twilio',
    maxBytes: 64_000,
    answer: { type: 'text/xml', body: '<Response/>' },
    async read({ headers, body, search }) {
      const { validateRequest } = (await import('twilio')).default;
      const url = new URLSearchParams(search);
      const fields = fieldsOf(body);
      const signature = headers.get('x-twilio-signature') ?? '';
      // Over the address that Twilio was told, which a proxy hides from us.
      if (!validateRequest(twilio.authToken, signature, `${publicUrl}/callbacks/twilio${search}`, fields))
        return undefined;
      return reportsOf(fields, url.get('delivery'));
    },
  } satisfies CallbackReader;
}

type Fields = Record<string, string | string[]>;

/** A name that comes twice is a list, as the signature has it. */
function fieldsOf(body: Buffer): Fields {
  const fields: Fields = Object.create(null) as Fields;
  const form = new URLSearchParams(body.toString('utf8'));
  for (const name of new Set(form.keys())) {
    const values = form.getAll(name);
    fields[name] = values.length > 1 ? values : values[0]!;
  }
  return fields;
}

/** https://www.twilio.com/docs/messaging/api/message-resource#message-status-values */
const statuses: Record<string, Report['status']> = {
  accepted: 'sent',
  scheduled: 'sent',
  queued: 'sent',
  sending: 'sent',
  sent: 'sent',
  delivered: 'delivered',
  partially_delivered: 'delivered',
  read: 'read',
  failed: 'failed',
  undelivered: 'failed',
  canceled: 'failed',
};

function reportsOf(fields: Fields, delivery: string | null): Report[] {
  const given = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '');
  const sid = given('MessageSid') || given('SmsSid');
  const event = given('MessageStatus') || given('SmsStatus');
  if (!/^(SM|MM)[0-9a-f]{32}$/i.test(sid) || !/^\w{1,40}$/.test(event)) return [];
  const event_id = `${sid}:${event}`;
  if (event === 'received') return [{ event_id, event, detail: {}, ...wishOf(given) }];
  const status = Object.hasOwn(statuses, event) ? statuses[event] : undefined;
  const code = Number(given('ErrorCode')) || undefined;
  const error_code = status === 'failed' ? undelivered(code) : undefined;
  const reason = error_code === 'recipient_opted_out' ? 'opted out' : 'hard bounce';
  const suppresses = error_code === 'recipient_opted_out' || error_code === 'invalid_recipient';
  return [
    {
      event_id,
      event,
      detail: code ? { code } : {},
      delivery_id: deliveryIdIn(delivery),
      provider_message_id: sid,
      status,
      error_code,
      ...(suppresses ? { recipient: { ...addressIn(given('To')), suppress: reason } } : {}),
    },
  ];
}

/** https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out, and the words without it */
const stop = /^(stop|stopall|unsubscribe|cancel|end|quit|revoke|optout)$/i;
const start = /^(start|yes|unstop)$/i;

/** What a recipient's message says. Twilio names it only if it looks for such words itself. */
function wishOf(given: (name: string) => string): Pick<Report, 'recipient'> {
  const said = given('OptOutType') || given('Body').trim();
  const from = addressIn(given('From'));
  if (stop.test(said)) return { recipient: { ...from, suppress: 'opted out' } };
  return start.test(said) ? { recipient: { ...from, restore: true } } : {};
}

const addressIn = (number: string) =>
  number.startsWith('whatsapp:')
    ? ({ channel: 'whatsapp', address: number.slice('whatsapp:'.length) } as const)
    : ({ channel: 'sms', address: number } as const);
