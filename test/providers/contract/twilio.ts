import { createTwilioSms, createTwilioWhatsApp } from '../../../worker/providers/twilio/twilio.ts';
import { account, fault, startTwilio } from '../../support/twilio.ts';
import { canary, type Row } from './row.ts';

const answer = (status: number, code?: number, headers: Record<string, string> = {}) =>
  fault(status, code, headers, `${canary} ${account.TWILIO_AUTH_TOKEN}`);

/** https://www.twilio.com/docs/api/errors */
const cases: Row['cases'] = [
  ['not a number', answer(400, 21211), 'permanent invalid_recipient'],
  ['no mobile number', answer(400, 21614), 'permanent invalid_recipient'],
  ['none of WhatsApp', answer(400, 63024), 'permanent invalid_recipient'],
  ['it has answered STOP', answer(400, 21610), 'permanent recipient_opted_out'],
  ['outside of the 24 hours', answer(400, 63016), 'permanent template_required'],
  ['no way from this number to that one', answer(400, 21612), 'permanent message_refused'],
  ['text too long', answer(400, 21617), 'permanent message_refused'],
  ['not verified by a trial account', answer(400, 21608), 'permanent message_refused'],
  ['the sender cannot send SMS', answer(400, 21606), 'fault twilio_refused'],
  ['the country is not enabled', answer(403, 21408), 'fault twilio_refused'],
  ['no such account', answer(404, 20404), 'fault twilio_refused'],
  ['no answer of Twilio', { status: 404, body: '<html>' }, 'fault twilio_refused'],
  ['a bad request without a code', { status: 400, body: 'no' }, 'fault twilio_refused'],
  ['a redirect', answer(307, undefined, { location: 'http://127.0.0.1:1/' }), 'fault twilio_refused'],
  ['wrong token', answer(401, 20003), 'fault twilio_unauthorized'],
  ['wrong token, without words', answer(403), 'fault twilio_unauthorized'],
  ['too many requests', answer(429, 20429), 'retryable twilio_rate_limited'],
  ['too many requests, with a time', answer(429, 20429, { 'retry-after': '30' }), 'snooze 30000'],
  ['its queue is full', answer(400, 21611), 'retryable twilio_rate_limited'],
  ['server error', answer(500, 20500), 'unknown'],
  ['not available', answer(503, 20503, { 'retry-after': '30' }), 'unknown'],
  ['a success that is no JSON', { status: 201, body: '<html>' }, 'unknown'],
  ['a success that names no message', { status: 201, body: '{}' }, 'unknown'],
];

async function start(): ReturnType<Row['start']> {
  const twilio = await startTwilio();
  return {
    env: { ...twilio.env, PUBLIC_URL: 'https://jobs.example.com' },
    taken: () =>
      twilio.messages

        .map(({ fields }) => new URL(fields['StatusCallback']!).searchParams.get('delivery')!),
    fail: twilio.fail,
    heal: twilio.heal,
    hanging: twilio.hanging,
    close: twilio.close,
  };
}

const common = {
  secrets: [account.TWILIO_AUTH_TOKEN],
  gone: { TWILIO_API_URL: 'http://127.0.0.1:1' },
  impatient: { TWILIO_TIMEOUT: '500' },
  locked: answer(401, 20003),
  endless: 'unknown',
  start,
  cases,
} satisfies Partial<Row>;

export const twilioSms: Row = {
  ...common,
  name: 'sms/twilio',
  create: createTwilioSms,
  message: { to: '+491701234567', text: canary },
};

export const twilioWhatsApp: Row = {
  ...common,
  name: 'whatsapp/twilio',
  create: createTwilioWhatsApp,
  message: { to: '+491701234567', content: { id: `HX${'0'.repeat(32)}`, variables: { 1: canary } } },
};
