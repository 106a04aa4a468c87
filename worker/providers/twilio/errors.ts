import { DeploymentError, PermanentError, RetryableError, UnknownOutcome } from '../../base/errors.ts';
import { statusError, type Service } from '../../base/http/fetch.ts';
import type { Answer } from '../../base/http/request.ts';

/** What Twilio's error codes mean, in answers and in callbacks. https://www.twilio.com/docs/api/errors */
const meanings = {
  /** Not a number, not a mobile one, no longer in use, a landline, none of WhatsApp. */
  invalid_recipient: [21211, 21217, 21265, 21614, 30005, 30006, 63003, 63024],
  /** The recipient answered STOP. */
  recipient_opted_out: [21610],
  /** More than 24 hours after the recipient's last message, WhatsApp takes templates only. */
  template_required: [63016],
  /** The account must not send from this number, to this country, without a registration, or at all. */
  twilio_refused: [20005, 21408, 21603, 21606, 21607, 21659, 21660, 21703, 21705, 30002, 30034, 63007],
  twilio_unauthorized: [20003],
  twilio_rate_limited: [14107, 20429, 21611, 30001, 63018, 63038],
} as const;

type Meaning = keyof typeof meanings;

const meaningOf = new Map<number, Meaning>(
  Object.entries(meanings).flatMap(([meaning, codes]) => codes.map((code) => [code, meaning as Meaning])),
);

/** Why a message was not delivered that Twilio had taken. */
export function undelivered(code: number | undefined) {
  const meaning = meaningOf.get(code ?? 0);
  const isRecipients =
    meaning === 'invalid_recipient' || meaning === 'recipient_opted_out' || meaning === 'template_required';
  return isRecipients ? meaning : 'message_undelivered';
}

/**
 * What an answer means that is no success. Twilio's own words are left out: they may have the number.
 * @param reads the request can have sent nothing
 */
export function judgeTwilio({ status, headers, text }: Answer, service: Service, reads: boolean): Error {
  const code = codeIn(text);
  const link = code ? `, https://www.twilio.com/docs/api/errors/${code}` : '';
  const said = `Twilio answered ${status}${link}`;
  if (status >= 500) return reads ? unreadable(service, `answered ${status}`) : new UnknownOutcome(said);
  const { dependency = '' } = service;
  switch (meaningOf.get(code ?? 0)) {
    case 'invalid_recipient':
      return new PermanentError('invalid_recipient', `${said}: no message can be sent to this number`);
    case 'recipient_opted_out':
      return new PermanentError('recipient_opted_out', `${said}: the recipient has answered STOP`);
    case 'template_required':
      return new PermanentError('template_required', `${said}: send a template; TWILIO_CONTENT_TEMPLATES names them`);
    case 'twilio_refused':
      return new DeploymentError(dependency, 'twilio_refused', `${said}: it refuses the sender or the account`);
    case 'twilio_unauthorized':
      return statusError(service, 401);
    case 'twilio_rate_limited':
      if (status !== 429) return new RetryableError('twilio_rate_limited', `${said}: too many messages`);
      return statusError(service, 429, headers['retry-after']);
    case undefined:
  }
  if ([401, 403, 408, 425, 429].includes(status)) return statusError(service, status, headers['retry-after']);
  if (status === 400 && code) return new PermanentError('message_refused', `${said}: it does not take the message`);
  const check = `check ${service.settings.address} and TWILIO_ACCOUNT_SID`;
  return new DeploymentError(dependency, 'twilio_refused', `${said}: it does not know the request; ${check}`);
}

/** Twilio cannot be asked what became of a message: that waits, however long it takes, and uses no retry. */
export function unreadable({ dependency = '', settings }: Service, what: string, cause?: unknown): Error {
  const words = `Twilio ${what}: check ${settings.address}, and https://status.twilio.com`;
  return new DeploymentError(dependency, 'twilio_unavailable', words, { cause });
}

function codeIn(text: string): number | undefined {
  try {
    const { code } = JSON.parse(text) as { code?: unknown };
    return Number.isSafeInteger(code) ? (code as number) : undefined;
  } catch {
    return undefined;
  }
}
