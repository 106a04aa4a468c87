import type { Config } from '../../base/config/config.ts';
import { DeploymentError, Snooze, UnknownOutcome } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import { receiptOf, type Sender } from '../sender.ts';
import { openTwilio, type TwilioConfig } from './client.ts';
import type { PhoneMessage } from './message.ts';

/** SMS over Twilio. @returns undefined if it is not configured */
export function createTwilioSms({ twilio, publicUrl }: Settings): Sender<PhoneMessage> | undefined {
  const from = twilio?.messagingService ?? twilio?.number;
  return twilio && from ? createTwilio({ ...service, dependency: 'sms' }, twilio, from, publicUrl) : undefined;
}

/** WhatsApp messages over Twilio. @returns undefined if it is not configured */
export function createTwilioWhatsApp({ twilio, publicUrl }: Settings): Sender<PhoneMessage> | undefined {
  const from = twilio?.whatsappNumber;
  return twilio && from ? createTwilio({ ...service, dependency: 'whatsapp' }, twilio, from, publicUrl) : undefined;
}

type Settings = Pick<Config, 'twilio' | 'publicUrl'>;

const settings = { address: 'TWILIO_API_URL', secret: 'TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN' };
const service: Service = {
  code: 'twilio',
  name: 'Twilio',
  settings,
};

/** By how much Twilio's clock may differ from ours. */
const skewMs = 30_000;

/** @param from a number, or the SID of a messaging service */
function createTwilio(
  ours: Service & { dependency: 'sms' | 'whatsapp' },
  config: TwilioConfig,
  from: string,
  publicUrl: string | undefined,
): Sender<PhoneMessage> {
  const channel = ours.dependency;
  const open = (signal: AbortSignal) => openTwilio(config, ours, signal);
  const addressOf = (number: string) => (channel === 'whatsapp' ? `whatsapp:${number}` : number);
  const bucket = { key: `twilio ${addressOf(from)}`, perSecond: config.perSecond[channel] };
  return {
    name: 'twilio',
    address: `${new URL(config.url).host}, from ${from}`,
    rate: () => bucket,
    async send({ to, text, content, validFor }, { key, signal }) {
      const { messages } = await open(signal);
      signal.throwIfAborted();
      const { sid } = await messages.create({
        to: addressOf(to),
        ...(from.startsWith('MG') ? { messagingServiceSid: from } : { from: addressOf(from) }),
        ...(content ? { contentSid: content.id, contentVariables: JSON.stringify(content.variables) } : { body: text }),
        ...(publicUrl ? { statusCallback: `${publicUrl}/callbacks/twilio?delivery=${key}` } : {}),
        ...(validFor && channel === 'sms' ? { validityPeriod: Math.min(Math.ceil(validFor), longestValidity) } : {}),
      });
      if (!sid) throw new UnknownOutcome('Twilio named no message in its answer');
      return receiptOf(sid, to);
    },
    /**
     * By number, words and time, as Twilio keeps nothing of ours. By number alone it is asked, and not by DateSent: a
     * message that waits in its queue has none. An equal text to the same number within half a minute counts as ours.
     */
    async find({ to, text }, { since, signal }) {
      const { messages } = await open(signal);
      const page = { to: addressOf(to), limit: 200, pageSize: 200 };
      const found = (await messages.list(page)).find(
        ({ direction, dateCreated, status, body }) =>
          direction !== 'inbound' &&
          dateCreated.getTime() >= since.getTime() - skewMs &&
          !/^(failed|undelivered|canceled)$/.test(status) &&
          (text === undefined || body === text),
      );
      if (found) return receiptOf(found.sid, to);
      const tooEarlyMs = since.getTime() + 2 * config.timeoutMs - Date.now();
      if (tooEarlyMs > 0) throw new Snooze(tooEarlyMs, 'Twilio may still be taking the message');
      return undefined;
    },
    /** Reads the account, and sends nothing. */
    async check({ signal }) {
      const { api } = await open(signal);
      const { status, type } = await api.v2010.accounts(config.accountSid).fetch();
      if (status !== 'active')
        throw new DeploymentError(channel, 'twilio_refused', `The account at Twilio is ${status}`);
      return type === 'Trial' ? 'it is a trial account, which only sends to verified numbers' : undefined;
    },
  };
}

/** In seconds. https://www.twilio.com/docs/messaging/api/message-resource#request-body-parameters */
const longestValidity = 36_000;
