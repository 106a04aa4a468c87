import type { Readable } from 'node:stream';
import type { NodemailerError } from 'nodemailer';
import type { Config } from '../../base/config/config.ts';
import type { SmtpConfig } from '../../base/config/email.ts';
import { UnknownOutcome } from '../../base/errors.ts';
import { receiptOf, type Sender } from '../sender.ts';
import { mailOf, type EmailMessage } from './email.ts';
import { judgeSmtp } from './smtp-errors.ts';

/** Emails over SMTP, on connections that are kept. @returns undefined if no server is configured */
export function createSmtp({ email }: Pick<Config, 'email'>): Sender<EmailMessage> | undefined {
  const { smtp } = email;
  if (!smtp) return undefined;
  let pool: Promise<Pool> | undefined;
  const opened = () => (pool ??= openPool(smtp));
  const bucket = smtp.perSecond ? { key: `smtp ${smtp.host}`, perSecond: smtp.perSecond } : undefined;
  return {
    name: 'smtp',
    address: `${smtp.host}:${smtp.port}`,
    rate: () => bucket,
    async send(message, { key, signal }) {
      const { transport, bodies } = await opened();
      signal.throwIfAborted();
      const deadline = AbortSignal.timeout(smtp.timeoutMs);
      const mail = mailOf(message, email, key);
      try {
        const sent = await transport.sendMail({ ...mail, signal: AbortSignal.any([signal, deadline]) });
        return receiptOf(sent.serverMessageId ?? mail.messageId, message.to);
      } catch (error) {
        const answer = (error as NodemailerError).responseCode;
        // Until the body is read, no byte of it is on its way. An answer is one that refuses it.
        if (bodies.get(mail.messageId)?.readableDidRead && !answer)
          throw new UnknownOutcome(`the SMTP server did not answer (${(error as NodemailerError).code})`, {
            cause: error,
          });
        signal.throwIfAborted();
        throw judgeSmtp(error as NodemailerError, smtp);
      } finally {
        bodies.delete(mail.messageId);
      }
    },
    /** Logs in, and sends nothing. */
    async check({ signal }) {
      const { transport } = await opened();
      const stopped = Promise.withResolvers<never>();
      const stop = () => stopped.reject(signal.reason as Error);
      signal.addEventListener('abort', stop, { once: true });
      try {
        await Promise.race([transport.verify(), stopped.promise]);
      } catch (error) {
        signal.throwIfAborted();
        throw judgeSmtp(error as NodemailerError, smtp);
      } finally {
        signal.removeEventListener('abort', stop);
      }
    },
    async close() {
      (await pool)?.transport.close();
    },
  };
}

type Pool = Awaited<ReturnType<typeof openPool>>;

/** `bodies`: of the messages that are being sent, by Message-ID. */
async function openPool({ host, port, secure, requireTls, user, pass, connections, timeoutMs, dkim }: SmtpConfig) {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({
    pool: true,
    host,
    port,
    secure,
    requireTLS: requireTls,
    maxConnections: connections,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    ...(user === undefined ? {} : { auth: { user, pass: pass ?? '' } }),
    ...(dkim ? { dkim } : {}),
  });
  const bodies = new Map<string, Readable>();
  transport.use('stream', ({ message }, done) => {
    const create = message.createReadStream.bind(message);
    message.createReadStream = (options) => {
      const body = create(options);
      bodies.set(message.messageId(), body);
      return body;
    };
    done();
  });
  return { transport, bodies };
}
