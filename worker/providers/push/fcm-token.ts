import { sign } from 'node:crypto';
import type { ServiceAccount } from '../../base/config/push.ts';
import { DeploymentError, isOf, RetryableError, UnknownOutcome } from '../../base/errors.ts';
import { request } from '../../base/http/request.ts';

const service = {
  code: 'fcm',
  name: 'Firebase Cloud Messaging',
  dependency: 'push',
  settings: { address: 'FCM_URL', secret: 'FIREBASE_SERVICE_ACCOUNT' },
};

/** A token that lets us send, and for how many seconds. */
export type AccessToken = { access_token: string; expires_in: number };

const scope = 'https://www.googleapis.com/auth/firebase.messaging';
const timeoutMs = 15_000;

/**
 * Exchanges the key of a service account for an access token. The SDK would do that, too: for minutes, with no time
 * limit, and with a scope for all of Google Cloud.
 * https://developers.google.com/identity/protocols/oauth2/service-account#httprest
 * @throws DeploymentError `fcm_unauthorized`, `fcm_unavailable`, `fcm_account_unusable`; RetryableError
 *   `fcm_unavailable`, `fcm_timeout`
 */
export async function fetchToken(account: ServiceAccount, signal: AbortSignal): Promise<AccessToken> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
    assertion: assertionOf(account),
  });
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const url = new URL(account.tokenUri);
  const options = { method: 'POST' as const, service, headers, body: String(body), timeoutMs, signal };
  const { status, text } = await request(url, options).catch((error: unknown) => {
    // A token that never came has sent no message.
    if (isOf(error, UnknownOutcome)) throw unavailable(`${url.host} did not answer`, error);
    throw error;
  });
  const said = `${url.host} answered ${status} to the service account`;
  if (status >= 500 || status === 429) throw unavailable(said);
  const token = status === 200 ? readToken(text) : undefined;
  if (token) return token;
  throw new DeploymentError('push', 'fcm_unauthorized', `${said}: check FIREBASE_SERVICE_ACCOUNT, and the clock`);
}

const unavailable = (what: string, cause?: unknown) =>
  new RetryableError('fcm_unavailable', `${what}: no message was sent`, { cause });

function assertionOf({ clientEmail, privateKey, tokenUri }: ServiceAccount): string {
  const now = Math.floor(Date.now() / 1_000);
  const claims = { iss: clientEmail, scope, aud: tokenUri, iat: now, exp: now + 3_600 };
  const signed = [{ alg: 'RS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  try {
    return `${signed}.${sign('RSA-SHA256', Buffer.from(signed), privateKey).toString('base64url')}`;
  } catch {
    const words = 'The private_key in FIREBASE_SERVICE_ACCOUNT is none: copy the whole key again';
    throw new DeploymentError('push', 'fcm_account_unusable', words);
  }
}

function readToken(text: string): AccessToken | undefined {
  try {
    const { access_token, expires_in } = JSON.parse(text) as Partial<AccessToken>;
    return access_token && expires_in ? { access_token, expires_in } : undefined;
  } catch {
    return undefined;
  }
}
