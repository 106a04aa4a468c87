import { createSendGrid } from '../../../worker/providers/email/sendgrid.ts';
import { startSendGrid } from '../../support/sendgrid.ts';
import { canary, type Answer, type Row } from './row.ts';

const key = 'SG.sendgrid-secret-91c4';

const answer = (status: number, field?: string, headers: Record<string, string> = {}): Answer => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify({ errors: [{ message: `${canary}@example.com ${key}`, field: field ?? null, help: null }] }),
});

/** https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors */
export const sendgrid: Row = {
  name: 'email/sendgrid',
  create: createSendGrid,
  message: { to: `${canary}@example.com`, subject: canary, text: canary, html: `<p>${canary}</p>` },
  secrets: [key],
  gone: { SENDGRID_URL: 'http://127.0.0.1:1' },
  impatient: { SENDGRID_TIMEOUT: '500' },
  locked: answer(401),
  endless: 'sent',

  async start() {
    const vendor = await startSendGrid();
    return {
      ...vendor,
      env: { SENDGRID_API_KEY: key, SENDGRID_URL: vendor.url, EMAIL_FROM: 'Shop <hello@shop.example>' },
      taken: () => vendor.taken.map(({ body }) => JSON.parse(body).custom_args.delivery_id),
    };
  },

  cases: [
    ['bad address', answer(400, 'personalizations.0.to.0.email'), 'permanent invalid_recipient'],
    ['bad sender', answer(400, 'from.email'), 'retryable sendgrid_refused'],
    ['bad content', answer(400, 'content.0.value'), 'permanent message_refused'],
    ['no JSON', { status: 400, body: 'Bad Request' }, 'permanent message_refused'],
    ['wrong key, or no credits', answer(401), 'fault sendgrid_unauthorized'],
    ['no right, or blocked for a while', answer(403), 'fault sendgrid_unauthorized'],
    ['sender not verified', answer(403, 'from'), 'fault sendgrid_unauthorized'],
    ['wrong address of the API', answer(404), 'fault sendgrid_unavailable'],
    ['wrong method', answer(405), 'fault sendgrid_unavailable'],
    ['wrong type', answer(415), 'fault sendgrid_unavailable'],
    ['region', answer(451), 'fault sendgrid_unavailable'],
    ['redirect', answer(302, undefined, { location: 'http://127.0.0.1:1/' }), 'fault sendgrid_unavailable'],
    ['too large', answer(413), 'permanent message_refused'],
    ['too many requests', answer(429), 'retryable sendgrid_rate_limited'],
    ['too many requests, with a time', answer(429, undefined, { 'retry-after': '30' }), 'snooze 30000'],
    ['too many requests, reset long ago', answer(429, undefined, { 'x-ratelimit-reset': '1392815263' }), 'snooze 1000'],
    ['server error', answer(500), 'retryable sendgrid_unavailable'],
    ['bad gateway', answer(502), 'retryable sendgrid_unavailable'],
    ['not available', answer(503, undefined, { 'retry-after': '30' }), 'retryable sendgrid_unavailable'],
    ['no answer behind the gateway', answer(504), 'unknown'],
  ],
};
