import { codeOf, DeploymentError, PermanentError, RetryableError, Snooze, UnknownOutcome } from '../../base/errors.ts';
import { isUnreachable, retryAfterMs } from '../../base/retry.ts';
import { SnoozeAlone } from '../sender.ts';

/** As firebase-admin 14 throws it. */
type FcmError = Error & {
  code?: string;
  httpResponse?: { status: number; headers: Record<string, unknown>; data?: unknown } | undefined;
};

/** If Google does not say when to come back. https://firebase.google.com/docs/cloud-messaging/scale-fcm */
const quotaMs = 60_000;

/**
 * What became of a message that FCM did not take. FCM's words are left out: they may have the token.
 * https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
 */
export function judgeFcm(error: FcmError): Error {
  const { httpResponse: response } = error;
  if (!response) return judgeLocal(error);
  const { status } = response;
  const { code, about, text } = detailsOf(response.data);
  const said = `FCM answered ${status}${code ? ` ${code}` : ''}`;
  const wait = retryAfterMs(header(response.headers, 'retry-after'));

  if (code === 'UNREGISTERED' || code === 'NOT_FOUND')
    return new PermanentError('invalid_recipient', `${said}: the app was removed from the device, or has a new token`);
  if (code === 'SENDER_ID_MISMATCH')
    return new PermanentError('push_sender_mismatch', `${said}: the token is of another Firebase project`);
  if (code === 'THIRD_PARTY_AUTH_ERROR')
    return new DeploymentError(
      'push',
      'fcm_apns_unauthorized',
      `${said}: check the APNs key or the web push certificate in Firebase`,
    );
  if (status === 400 || status === 413) {
    if (about.includes('message.token') || /registration token/i.test(text))
      return new PermanentError('invalid_recipient', `${said}: the token is none`);
    const fields = about.filter((field) => /^[\w.[\]]{1,60}$/.test(field)).join(', ');
    return new PermanentError('message_refused', `${said}: it does not take the message${fields && ` (${fields})`}`);
  }
  if (status === 429) {
    if (/device/i.test(text)) return new SnoozeAlone(wait ?? quotaMs, `${said}: too many messages to this device`);
    return wait ? new Snooze(wait, said) : new SnoozeAlone(quotaMs, said);
  }
  // Not FCM's own 404: no token is to blame.
  if (status === 404) return unavailable(`${said}, in words that are not FCM's: check FCM_URL and the network`);
  if (status === 401 || status === 403)
    return new DeploymentError('push', 'fcm_unauthorized', `${said}: check FIREBASE_SERVICE_ACCOUNT and its project`);
  if (status === 503) return wait ? new Snooze(wait, said) : unavailable(`${said}: try again later`);
  if (status < 300) return new UnknownOutcome(`FCM answered ${status}, and what it said cannot be read`);
  return new RetryableError('fcm_failed', `${said}: try again later`);
}

const unavailable = (words: string) => new DeploymentError('push', 'fcm_unavailable', words);

/** Without an answer: the SDK found the message wrong, or the network failed. */
function judgeLocal(error: FcmError): Error {
  const cause = codeOf(error.cause) ?? 'unknown';
  if (/^messaging\/invalid-(payload|argument|data-payload-key)/.test(error.code ?? ''))
    return new PermanentError('message_refused', 'The message cannot be one of FCM');
  if (cause === notSent) return new RetryableError('fcm_timeout', 'FCM was too slow: this message was not sent yet');
  if (isUnreachable(cause)) return unavailable(`FCM could not be reached (${cause}): check the network, and FCM_URL`);
  return new UnknownOutcome(`FCM did not answer (${cause})`, { cause: error });
}

/** The code of an error for a message that was given up before a connection was made for it. */
export const notSent = 'ERR_NOT_SENT';

type Body = { error?: { status?: string; message?: string; details?: Detail[] } };
type Detail = {
  errorCode?: string;
  fieldViolations?: { field?: string }[];
  violations?: { subject?: string; description?: string }[];
};

/** `about`: the fields at fault. `text`: FCM's words, to look into. */
function detailsOf(data: unknown): { code: string; about: string[]; text: string } {
  const { error } = (typeof data === 'object' && data !== null ? data : {}) as Body;
  const details = Array.isArray(error?.details) ? error.details : [];
  const code = details.find(({ errorCode }) => errorCode)?.errorCode ?? error?.status ?? '';
  const about = details.flatMap(({ fieldViolations = [] }) => fieldViolations.map(({ field = '' }) => field));
  const quotas = details.flatMap(({ violations = [] }) => violations.flatMap((each) => Object.values(each)));
  const text = [error?.message ?? '', ...quotas].join(' ').slice(0, 10_000);
  return { code: /^[A-Z_]{1,60}$/.test(code) ? code : '', about, text };
}

function header(headers: Record<string, unknown>, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}
