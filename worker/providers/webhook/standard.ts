import { createHash } from 'node:crypto';
import type { Config } from '../../base/config/config.ts';
import { PermanentError, RetryableError, Snooze, UnknownOutcome } from '../../base/errors.ts';
import { statusError, type Service } from '../../base/http/fetch.ts';
import { createGuard } from '../../base/http/guard.ts';
import { request, type Answer } from '../../base/http/request.ts';
import { retryAfterMs } from '../../base/retry.ts';
import type { Sender } from '../sender.ts';
import type { WebhookMessage } from './message.ts';
import { isSigningSecret, signedHeaders } from '../../base/signature.ts';

/** No dependency: that one receiver is down is no fault of ours, and the webhooks of others go on. */
const service = {
  code: 'webhook',
  name: 'The receiver of the webhook',
  settings: { address: 'its address', secret: 'its secret' },
} satisfies Service;

/**
 * Webhooks by the specification Standard Webhooks: https://www.standardwebhooks.com
 * @returns undefined in development without settings
 */
export function createStandardWebhook({ webhook }: Pick<Config, 'webhook'>): Sender<WebhookMessage> | undefined {
  const { sends, allow, httpsOnly, perSecond, timeoutMs } = webhook;
  if (!sends) return undefined;
  const guard = createGuard({ allow, httpsOnly });
  return {
    name: 'standard',
    address: 'the address of each webhook',
    // A repeat has the same webhook-id.
    repeatable: true,
    refuses({ secrets }) {
      if (secrets.length === 0) return 'payload.webhook.secret: is missing, and WEBHOOK_SECRET is not set';
      if (secrets.every(isSigningSecret)) return undefined;
      return 'The secret of the webhook must be whsec_ and 24 to 64 bytes as base64';
    },
    // The key is stored. An address may have a secret in it.
    rate: ({ url }) => ({ key: `webhook ${createHash('sha256').update(url).digest('base64url')}`, perSecond }),
    async send({ url, secrets, body }, { key, signal }) {
      const answer = await request(new URL(url), {
        service,
        method: 'POST',
        headers: {
          'content-type': 'application/json; charset=utf-8',
          'user-agent': 'Rowmill',
          ...signedHeaders(key, new Date(), body, secrets),
        },
        body,
        guard,
        timeoutMs,
        signal,
      });
      if (answer.status < 200 || answer.status > 299) throw judge(answer);
      return {};
    },
  };
}

/** What an answer means that is no success. A receiver that is repaired soon loses nothing: all but 410 are retried. */
function judge({ status, headers }: Answer): Error {
  const said = `${service.name} answered ${status}`;
  const delayMs = retryAfterMs(headers['retry-after']);
  if (status === 410) return new PermanentError('webhook_gone', `${said}: it wants no more`);
  if ([429, 502, 503, 504].includes(status) && delayMs !== undefined)
    return new Snooze(delayMs, `${said}: come back in ${Math.ceil(delayMs / 1_000)} s`);
  // What is behind the gateway may have taken the message.
  if (status === 504) return new UnknownOutcome(said);
  if ([408, 425, 429].includes(status) || status >= 500) return statusError(service, status);
  if (status < 400)
    return new RetryableError('webhook_redirected', `${said}: redirects are not followed; correct the address`);
  return new RetryableError('webhook_refused', `${said}: it does not take the message`);
}
