import type { Config } from '../../base/config/config.ts';
import type { SendGridConfig } from '../../base/config/email.ts';
import { DeploymentError, PermanentError, RetryableError, UnknownOutcome } from '../../base/errors.ts';
import { statusError, type Service } from '../../base/http/fetch.ts';
import { request, type Answer } from '../../base/http/request.ts';
import { receiptOf, type Sender } from '../sender.ts';
import { mailOf, type EmailMessage } from './email.ts';

const service = {
  code: 'sendgrid',
  name: 'SendGrid',
  dependency: 'email',
  settings: { address: 'SENDGRID_URL', secret: 'SENDGRID_API_KEY' },
} satisfies Service;

/**
 * Emails over the API of SendGrid. Its events name the delivery: `delivery_id`.
 * https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
 * @returns undefined without a key
 */
export function createSendGrid({ email }: Pick<Config, 'email'>): Sender<EmailMessage> | undefined {
  const { sendgrid } = email;
  if (!sendgrid) return undefined;
  const bucket = { key: 'sendgrid', perSecond: sendgrid.perSecond };
  return {
    name: 'sendgrid',
    address: new URL(sendgrid.url).host,
    rate: () => bucket,
    async send(message, { key, signal }) {
      const body = JSON.stringify(bodyOf(message, email, key));
      const answer = await ask(sendgrid, '/v3/mail/send', { method: 'POST', body, signal });
      if (answer.status < 200 || answer.status > 299) throw judge(answer);
      const id = answer.headers['x-message-id'];
      return receiptOf(typeof id === 'string' ? id : undefined, message.to);
    },
    async check({ signal }) {
      const answer = await ask(sendgrid, '/v3/scopes', { signal });
      if (answer.status !== 200) throw judge(answer);
      if (!answer.text.includes('"mail.send"')) return 'the key has no right to send mail: mail.send';
    },
  };
}

type Asking = { method?: 'POST'; body?: string; signal: AbortSignal };

const ask = ({ url, key, timeoutMs }: SendGridConfig, path: string, asking: Asking): Promise<Answer> =>
  request(new URL(url + path), {
    ...asking,
    service,
    headers: { authorization: `Bearer ${key}`, accept: 'application/json', 'content-type': 'application/json' },
    timeoutMs,
  });

/** SendGrid refuses an empty subject and an empty text, and wants the text before the HTML. */
function bodyOf(message: EmailMessage, settings: Config['email'], key: string): object {
  const { from, subject, text, html, replyTo, headers, messageId } = mailOf(message, settings, key);
  return {
    personalizations: [{ to: [{ email: message.to }] }],
    from: partsOf(from),
    ...(replyTo ? { reply_to: partsOf(replyTo) } : {}),
    subject: subject || '(no subject)',
    content: [{ type: 'text/plain', value: text || ' ' }, ...(html ? [{ type: 'text/html', value: html }] : [])],
    headers: { ...headers, 'Message-ID': messageId },
    custom_args: { delivery_id: key },
  };
}

/** `Shop <hello@shop.example>` */
function partsOf(address: string): { email: string; name?: string } {
  const [, name = '', email = address] = /^"?(.*?)"?\s*<([^<>]+)>$/.exec(address.trim()) ?? [];
  return { email, ...(name ? { name } : {}) };
}

/**
 * What an answer means that is no success. Its words are left out: they may have the address.
 * https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/errors
 */
function judge({ status, headers, text }: Answer): Error {
  const said = `SendGrid answered ${status}`;
  if (status === 400) return judgeFields(said, text);
  if (status === 413) return new PermanentError('message_refused', `${said}: the message is too large`);
  // What is behind the gateway may have taken the message.
  if (status === 504) return new UnknownOutcome(said);
  const isUsual = [401, 403, 408, 425, 429].includes(status) || status >= 500;
  if (isUsual) return statusError(service, status, headers['retry-after'] ?? resetOf(headers['x-ratelimit-reset']));
  return new DeploymentError('email', 'sendgrid_unavailable', `${said}: check SENDGRID_URL`);
}

function judgeFields(said: string, text: string): Error {
  const fields = Array.from(text.matchAll(/"field"\s*:\s*"([\w.]{1,80})"/g), ([, field]) => field!);
  if (fields.some((field) => /^personalizations\.\d+\.to\b/.test(field)))
    return new PermanentError('invalid_recipient', `${said}: the address of the recipient cannot be one`);
  if (fields.some((field) => /^from\b/.test(field)))
    return new RetryableError('sendgrid_refused', `${said}: it does not take mail from the sender; check EMAIL_FROM`);
  return new PermanentError('message_refused', `${said}: it does not take the message ${fields.join(', ')}`.trim());
}

/** Seconds since 1970, as a date. */
const resetOf = (header: unknown): string | undefined =>
  typeof header === 'string' && /^\d{10}$/.test(header) ? new Date(Number(header) * 1_000).toUTCString() : undefined;
