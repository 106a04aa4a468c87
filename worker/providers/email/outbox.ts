import type { Config } from '../../base/config/config.ts';
import { outboxOf, writeToOutbox } from '../outbox.ts';
import type { Sender } from '../sender.ts';
import { mailOf, type EmailMessage } from './email.ts';

/** Emails as files: the whole message as .eml, what it shows as .html, and what it was made of as .json. */
export function createEmailOutbox({ dataDir, email }: Pick<Config, 'dataDir' | 'email'>): Sender<EmailMessage> {
  const dir = outboxOf(dataDir, 'email');
  return {
    name: 'outbox',
    address: dir,
    repeatable: true,
    async send(message, { key, signal }) {
      signal.throwIfAborted();
      const { createTransport } = await import('nodemailer');
      const composer = createTransport({ streamTransport: true, buffer: true });
      const composed = await composer.sendMail(mailOf(message, email, key));
      await writeToOutbox(dir, key, {
        eml: composed.message as Buffer,
        ...(message.html === undefined ? {} : { html: message.html }),
        json: JSON.stringify(message, null, 2),
      });
      return { provider_message_id: `${key}.eml` };
    },
    check: async () => undefined,
  };
}
