import { z } from 'zod';
import { group } from './group.ts';
import { orderFaults } from './order.ts';
import { integer, list, secret, text, url } from './values.ts';

const number = text.regex(/^\+[1-9]\d{6,14}$/, 'must be a phone number, such as +14155550100');

/** Twilio, which sends SMS and WhatsApp messages. */
export const twilio = group({
  settings: {
    SMS_PROVIDERS: list.optional(),
    WHATSAPP_PROVIDERS: list.optional(),
    TWILIO_ACCOUNT_SID: text.regex(/^AC[0-9a-f]{32}$/i, 'must be AC and 32 hexadecimal digits').optional(),
    TWILIO_AUTH_TOKEN: secret,
    TWILIO_PHONE_NUMBER: number.optional(),
    TWILIO_MESSAGING_SERVICE_SID: text.regex(/^MG[0-9a-f]{32}$/i, 'must be MG and 32 hexadecimal digits').optional(),
    TWILIO_WHATSAPP_NUMBER: number.optional(),
    TWILIO_CONTENT_TEMPLATES: list
      .transform((pairs, context) => {
        const read = pairs.map((pair) => /^([^=\s]+)\s*=\s*(HX[0-9a-f]{32})$/i.exec(pair));
        if (read.every((pair) => pair !== null)) return new Map(read.map(([, name, id]) => [name!, id!]));
        context.addIssue('must be names and their ContentSids, such as welcome=HX0123456789abcdef0123456789abcdef');
        return z.NEVER;
      })
      .optional(),
    TWILIO_RATE: integer(1, 100_000).optional(),
    TWILIO_WHATSAPP_RATE: integer(1, 100_000).optional(),
    TWILIO_TIMEOUT: integer(100, 600_000).optional(),
    TWILIO_API_URL: url.optional(),
  },
  together: { Twilio: ['TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN'] },
  faults(given, env) {
    const senders = ['TWILIO_PHONE_NUMBER', 'TWILIO_MESSAGING_SERVICE_SID', 'TWILIO_WHATSAPP_NUMBER'];
    const sender = senders.find((name) => name in given);
    const hasAccount = 'TWILIO_ACCOUNT_SID' in given;
    if (sender && !hasAccount) return [`TWILIO_ACCOUNT_SID: is missing, while ${sender} is set`];
    if (hasAccount && !sender)
      return [
        `TWILIO_PHONE_NUMBER: is missing, while TWILIO_ACCOUNT_SID is set; or one of ${senders.slice(1).join(', ')}`,
      ];
    return [
      ...orderFaults('SMS_PROVIDERS', env?.SMS_PROVIDERS, { twilio: senders.slice(0, 2) }, given),
      ...orderFaults('WHATSAPP_PROVIDERS', env?.WHATSAPP_PROVIDERS, { twilio: senders.slice(2) }, given),
    ];
  },
  read: (env) => ({
    /** In the order in which they are tried. Undefined: all that are configured. */
    sms: { providers: env.SMS_PROVIDERS },
    whatsapp: {
      providers: env.WHATSAPP_PROVIDERS,
      /** The ContentSid of each template that Twilio renders. */
      contents: env.TWILIO_CONTENT_TEMPLATES ?? new Map<string, string>(),
    },
    twilio:
      env.TWILIO_ACCOUNT_SID && env.TWILIO_AUTH_TOKEN
        ? {
            accountSid: env.TWILIO_ACCOUNT_SID,
            authToken: env.TWILIO_AUTH_TOKEN,
            number: env.TWILIO_PHONE_NUMBER,
            /** Goes before the number. */
            messagingService: env.TWILIO_MESSAGING_SERVICE_SID,
            whatsappNumber: env.TWILIO_WHATSAPP_NUMBER,
            perSecond: { sms: env.TWILIO_RATE ?? 100, whatsapp: env.TWILIO_WHATSAPP_RATE ?? 80 },
            timeoutMs: env.TWILIO_TIMEOUT ?? 15_000,
            url: env.TWILIO_API_URL ?? 'https://api.twilio.com',
          }
        : undefined,
  }),
});
