import { createStandardWebhook } from '../../../worker/providers/webhook/standard.ts';
import { startVendor } from '../../support/vendor.ts';
import { canary, type Row } from './row.ts';

const secret = 'whsec_d2ViaG9va3NlY3JldHdlYmhvb2tzZWNyZXQ=';
const path = '/hooks/webhook-secret-93c1';
const after = (seconds: string) => ({ 'retry-after': seconds });

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
export const webhook: Row = {
  name: 'webhook/standard',
  create: createStandardWebhook,
  secrets: [secret, path],
  impatient: { WEBHOOK_TIMEOUT: '500' },
  endless: 'sent',

  async start() {
    const vendor = await startVendor(() => ({ status: 200, body: 'ok' }));
    return {
      ...vendor,
      env: { WEBHOOK_ALLOW: '127.0.0.1' },
      message: { url: vendor.url + path, secrets: [secret], body: JSON.stringify({ data: canary }) },
      taken: () => vendor.taken.map(({ headers }) => headers['webhook-id'] as string),
    };
  },

  cases: [
    ['redirect', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'retryable webhook_redirected'],
    ['moved', { status: 308, headers: { location: `/${canary}` } }, 'retryable webhook_redirected'],
    ['does not take it', { status: 400, body: canary }, 'retryable webhook_refused'],
    ['wrong signature', { status: 401, body: secret }, 'retryable webhook_refused'],
    ['wrong address', { status: 404 }, 'retryable webhook_refused'],
    ['gone', { status: 410 }, 'permanent webhook_gone'],
    ['too many requests', { status: 429, headers: after('30') }, 'snooze 30000'],
    ['too many requests, without a time', { status: 429 }, 'retryable webhook_rate_limited'],
    ['server error', { status: 500, headers: after('30') }, 'retryable webhook_unavailable'],
    ['bad gateway', { status: 502, headers: after('3') }, 'snooze 3000'],
    ['not available', { status: 503, headers: after('3') }, 'snooze 3000'],
    ['not available, without a time', { status: 503 }, 'retryable webhook_unavailable'],
    ['no answer behind the gateway', { status: 504 }, 'unknown'],
  ],
};
