import type { NodemailerError } from 'nodemailer';
import type { SmtpConfig } from '../../base/config/email.ts';
import { DeploymentError, PermanentError, RetryableError } from '../../base/errors.ts';
import { isUnreachable } from '../../base/retry.ts';

/**
 * What a refusal of an SMTP server means, if it certainly did not take the message. The server's words are left out:
 * they may have the address. https://www.rfc-editor.org/rfc/rfc5321#section-4.2, and for the codes such as 5.1.1
 * https://www.iana.org/assignments/smtp-enhanced-status-codes/
 */
export function judgeSmtp(error: NodemailerError, server: Pick<SmtpConfig, 'host' | 'port'>): Error {
  const { responseCode: code = 0, command = '' } = error;
  const enhanced = /^\d{3}[ -](\d\.\d{1,3}\.\d{1,3})/.exec(error.response ?? '')?.[1] ?? '';
  const said = `The SMTP server answered ${[code || error.code, enhanced].filter(Boolean).join(' ')} to ${command}`;
  const where = `${server.host}:${server.port}`;

  if (/^(EAUTH|ENOAUTH|EOAUTH2)$/.test(error.code ?? '') || code === 530 || code === 535)
    return code >= 400 && code < 500
      ? new RetryableError('smtp_unavailable', `${said}: it cannot check the login now`)
      : new DeploymentError('email', 'smtp_unauthorized', `${said}: check SMTP_USER and SMTP_PASS, or SMTP_URL`);
  if (code === 421) return new RetryableError('smtp_unavailable', `${said}: it is closing the connection`);
  if (error.code === 'EENVELOPE' && command === 'API')
    return new PermanentError('invalid_recipient', 'The address of the recipient cannot be one');
  if (error.code === 'EENVELOPE' || error.code === 'EMESSAGE') return judgeRefusal(said, code, enhanced, command);
  return unreachable(error, where);
}

function judgeRefusal(said: string, code: number, enhanced: string, command: string): Error {
  const tooLarge = code === 552 && !enhanced.endsWith('2.2');
  if (command === 'MAIL FROM' && code && !tooLarge)
    return new RetryableError('smtp_refused', `${said}: it does not take mail from the sender; check EMAIL_FROM`);
  // 503, a wrong order of commands, says nothing about the message.
  if (code < 500 || code === 503 || enhanced === '5.2.2')
    return new RetryableError('message_deferred', `${said}: it does not take the message now`);
  const isUnknown = enhanced.startsWith('5.1.') || (!enhanced && [550, 551, 553].includes(code));
  if (command === 'RCPT TO' && isUnknown)
    return new PermanentError('invalid_recipient', `${said}: there is no such recipient`);
  return new PermanentError('message_refused', `${said}: it does not take the message`);
}

function unreachable(error: NodemailerError, where: string): Error {
  const { code = 'unknown', originalCode = code } = error;
  const words = `The SMTP server ${where} could not be reached (${originalCode})`;
  const check = 'check SMTP_URL or SMTP_HOST and SMTP_PORT, and that it is up';
  if (/^(EDNS|ETLS|EREQUIRETLS|ECONFIG)$/.test(code) || isUnreachable(originalCode))
    return new DeploymentError('email', 'smtp_unavailable', `${words}: ${check}`, { cause: error });
  return new RetryableError('smtp_unavailable', `${words}: ${check}`, { cause: error });
}
