import { createSmtp } from '../../../worker/providers/email/smtp.ts';
import { startSmtp } from '../../support/smtp.ts';
import { canary, type Answer, type Fault, type Row } from './row.ts';

const pass = 'smtp-secret-5d1e';

const at = (stage: NonNullable<Answer['stage']>, status: number, body = ''): Answer => ({ stage, status, body });

/** https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3, https://www.rfc-editor.org/rfc/rfc3463 */
export const smtp: Row = {
  name: 'email/smtp',
  create: createSmtp,
  message: { to: `${canary}@example.com`, subject: canary, text: canary, html: `<p>${canary}</p>` },
  secrets: [pass],
  gone: { SMTP_PORT: '1' },
  impatient: { SMTP_TIMEOUT: '500' },
  locked: at('login', 535, '5.7.8 bad login'),
  endless: 'unknown',

  async start() {
    const server = await startSmtp();
    const fail = (fault: Fault) => {
      if (typeof fault === 'string') return server.fail('data', fault);
      server.fail(fault.stage!, { code: fault.status, text: `${fault.body} <${canary}@example.com> ${pass}` });
    };
    return {
      env: {
        SMTP_HOST: server.host,
        SMTP_PORT: String(server.port),
        SMTP_USER: 'mailer',
        SMTP_PASS: pass,
        EMAIL_FROM: 'Shop <hello@shop.example>',
      },
      taken: () => server.mails.map(({ source }) => /^Message-ID: <(.*)@shop\.example>/im.exec(source)![1]!),
      fail,
      heal: () => server.heal(),
      hanging: () => server.hanging(),
      close: () => server.close(),
    };
  },

  cases: [
    ['wrong password', at('login', 535, '5.7.8'), 'fault smtp_unauthorized'],
    ['login cannot be checked now', at('login', 454, '4.7.0'), 'retryable smtp_unavailable'],
    ['login required', at('from', 530, '5.7.0'), 'fault smtp_unauthorized'],
    ['sender refused', at('from', 550, '5.7.1'), 'retryable smtp_refused'],
    ['too large', at('from', 552, '5.3.4'), 'permanent message_refused'],
    ['closing, at the sender', at('from', 421, '4.3.2'), 'retryable smtp_unavailable'],
    ['busy mailbox', at('recipient', 450, '4.2.1'), 'retryable message_deferred'],
    ['greylisted', at('recipient', 451, '4.7.1'), 'retryable message_deferred'],
    ['mailbox full, for now', at('recipient', 452, '4.2.2'), 'retryable message_deferred'],
    ['mailbox full', at('recipient', 552, '5.2.2'), 'retryable message_deferred'],
    ['no such mailbox', at('recipient', 550, '5.1.1'), 'permanent invalid_recipient'],
    ['no such mailbox, in old words', at('recipient', 550), 'permanent invalid_recipient'],
    ['no such domain', at('recipient', 550, '5.1.2'), 'permanent invalid_recipient'],
    ['not local', at('recipient', 551, '5.1.6'), 'permanent invalid_recipient'],
    ['bad name of a mailbox', at('recipient', 553, '5.1.3'), 'permanent invalid_recipient'],
    ['policy', at('recipient', 550, '5.7.1'), 'permanent message_refused'],
    ['closing, at the recipient', at('recipient', 421, '4.3.2'), 'retryable smtp_unavailable'],
    ['wrong order', at('recipient', 503, '5.5.1'), 'retryable message_deferred'],
    ['spam', at('data', 554, '5.7.1'), 'permanent message_refused'],
    ['too large, at the end', at('data', 552, '5.3.4'), 'permanent message_refused'],
    ['no room', at('data', 452, '4.3.1'), 'retryable message_deferred'],
    ['local error', at('data', 451, '4.3.0'), 'retryable message_deferred'],
    ['closing, at the end', at('data', 421, '4.3.2'), 'retryable smtp_unavailable'],
  ],
};
