import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';
import type { Config } from '../../base/config/config.ts';
import { deliveryIdIn, type CallbackReader, type Report } from '../report.ts';

/** How old a signature may be, and how much SendGrid's clock may differ from ours. */
const toleranceMs = 300_000;

/**
 * SendGrid's event webhook, with the signature switched on.
 * https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event
 * @returns undefined if it is not configured
 */
export function createSendGridEvents({ sendgridWebhookKey }: Pick<Config, 'sendgridWebhookKey'>) {
  if (!sendgridWebhookKey) return undefined;
  const key = createPublicKey({ key: Buffer.from(sendgridWebhookKey, 'base64'), format: 'der', type: 'spki' });
  return {
    name: 'sendgrid',
    maxBytes: 5_000_000,
    async read({ headers, body }) {
      const header = (name: string) => headers.get(`x-twilio-email-event-webhook-${name}`) ?? '';
      const timestamp = header('timestamp');
      if (!isSigned(key, timestamp, body, header('signature'))) return undefined;
      if (!(Math.abs(Date.now() - Number(timestamp) * 1_000) <= toleranceMs)) return undefined;
      return eventsIn(body).flatMap((event) => reportOf(event) ?? []);
    },
  } satisfies CallbackReader;
}

function isSigned(key: KeyObject, timestamp: string, body: Buffer, signature: string): boolean {
  const algorithm = key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return verify(algorithm, Buffer.concat([Buffer.from(timestamp), body]), key, Buffer.from(signature, 'base64'));
}

type Event = Record<string, unknown>;

function eventsIn(body: Buffer): Event[] {
  try {
    const events: unknown = JSON.parse(body.toString('utf8'));
    return Array.isArray(events) ? events.filter((event) => typeof event === 'object' && event !== null) : [];
  } catch {
    return [];
  }
}

function reportOf(given: Event): Report | undefined {
  const text = (name: string) => (typeof given[name] === 'string' ? given[name] : '');
  const event = text('event');
  if (!/^\w{1,40}$/.test(event)) return undefined;
  const seconds = Number(given['timestamp']);
  return {
    event_id: text('sg_event_id').slice(0, 500) || createHash('sha256').update(JSON.stringify(given)).digest('hex'),
    event,
    detail: detailOf(text),
    delivery_id: deliveryIdIn(given['delivery_id']),
    // Ours has the first part: <X-Message-Id>.recvd-...
    provider_message_id: text('sg_message_id').split('.')[0] || undefined,
    occurred_at: seconds > 0 && seconds < 1e10 ? new Date(seconds * 1_000) : undefined,
    ...outcomeOf(event, given, text),
    ...wishOf(event, given, text),
  };
}

/** The kind of a bounce and its codes. The words of a server may have an address. */
function detailOf(text: (name: string) => string): Report['detail'] {
  const status = /^\d\.\d{1,3}\.\d{1,3}$/.exec(text('status'))?.[0];
  const type = /^\w{1,40}$/.exec(text('type'))?.[0];
  return { ...(status ? { status } : {}), ...(type ? { type } : {}) };
}

type Outcome = Pick<Report, 'status' | 'error_code'>;

function outcomeOf(event: string, given: Event, text: (name: string) => string): Outcome {
  switch (event) {
    case 'processed':
      return { status: 'sent' };
    case 'delivered':
      return { status: 'delivered' };
    case 'click':
      return { status: 'read' };
    case 'open':
      // Apple's mail program loads pictures before anybody has read the mail.
      return given['sg_machine_open'] === true ? {} : { status: 'read' };
    case 'bounce':
      return text('type') === 'blocked'
        ? { status: 'bounced', error_code: 'message_undelivered' }
        : { status: 'bounced', error_code: 'invalid_recipient' };
    case 'dropped':
      return { status: 'failed', error_code: 'message_undelivered' };
    default:
      return {};
  }
}

/** Who must not be written to any more. A mail that was blocked says nothing about its recipient. */
function wishOf(event: string, given: Event, text: (name: string) => string): Pick<Report, 'recipient'> {
  const address = text('email');
  const of = { channel: 'email', address } as const;
  if (!address) return {};
  switch (event) {
    case 'bounce':
      return text('type') === 'blocked' ? {} : { recipient: { ...of, suppress: 'hard bounce' } };
    case 'dropped':
      return dropped(text('reason'), of);
    case 'spamreport':
      return { recipient: { ...of, suppress: 'complaint' } };
    case 'unsubscribe':
      return { recipient: { ...of, list: text('list'), suppress: 'unsubscribed' } };
    case 'group_unsubscribe':
      return {
        recipient: { ...of, list: text('list') || `group ${Number(given['asm_group_id'])}`, suppress: 'unsubscribed' },
      };
    default:
      return {};
  }
}

/** SendGrid drops mails to those on its own lists. */
function dropped(reason: string, of: { channel: 'email'; address: string }): Pick<Report, 'recipient'> {
  if (/bounced address/i.test(reason)) return { recipient: { ...of, suppress: 'hard bounce' } };
  if (/spam reporting address/i.test(reason)) return { recipient: { ...of, suppress: 'complaint' } };
  return /unsubscribed address/i.test(reason) ? { recipient: { ...of, suppress: 'unsubscribed' } } : {};
}
