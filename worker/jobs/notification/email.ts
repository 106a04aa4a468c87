import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { PermanentError } from '../../base/errors.ts';
import type { EmailMessage } from '../../providers/email/email.ts';
import { job, minutes } from '../../queue/job.ts';
import { onOneLine } from '../../templates/template.ts';
import { deliver, type Channel } from './delivery/deliver.ts';
import { noticeFields, sensitiveFields } from './delivery/notice.ts';
import { unsubscribeUrl } from './delivery/unsubscribe-link.ts';

const payload = z
  .object({
    ...noticeFields,
    /** The address, or with it the subject. An event has the address in its payload. */
    email: z.union([z.string(), z.object({ to: z.string(), subject: z.string().max(1_000).optional() })]).optional(),
  })
  .superRefine((given, context) => {
    if (addressIn(given) === undefined && given.notification_id === undefined)
      context.addIssue({ code: 'custom', path: ['email'], message: 'is missing: the address to send to' });
  });

type Payload = z.output<typeof payload>;

/** Sends an email. A repeat of a job that already sent is a no-op. */
export default job({
  name: 'notification.email',
  payload,
  sensitive: [...sensitiveFields, 'email'],
  timeout: minutes(2),
  run: (context) => deliver(context, email),
});

const email: Channel<Payload, EmailMessage> = {
  name: 'email',
  senders: (app) => app.email,
  personal: true,
  recipientOf,
  ownContent: ({ email: given }) => (typeof given === 'object' ? given.subject : undefined),
  async compose({ email: given, list }, to, { app, words }) {
    const { subject, text, html } = await words();
    const own = typeof given === 'object' ? given.subject : undefined;
    const url = list === undefined ? undefined : unsubscribeUrl(app.config, to, list);
    return {
      to,
      subject: own === undefined ? subject : onOneLine(own),
      text,
      ...(html === undefined ? {} : { html }),
      ...(url === undefined ? {} : { unsubscribe: { url } }),
    };
  },
};

/** One address and nothing else: a list, a name or a second line would send it to others. */
const address = /^([^\s\p{Cc}\p{Cf}@<>(),;:"\\[\]]{1,64})@([^\s\p{Cc}\p{Cf}@<>(),;:"\\[\]]{1,255})$/u;

function recipientOf(given: Payload): string {
  const found = addressIn(given);
  if (found === undefined) throw new PermanentError('invalid_payload', 'payload.email: is missing');
  const [, local, host = ''] = address.exec(typeof found === 'string' ? found.trim() : '') ?? [];
  // The one spelling of a domain that has several: a recipient in suppressions is found whichever is given.
  const domain = domainToASCII(host).replace(/\.$/, '');
  if (!local || !domain || local.length + domain.length > 253)
    throw new PermanentError('invalid_recipient', 'payload.email: is no address of one mailbox');
  return `${local.normalize()}@${domain}`;
}

const addressIn = ({ email: given, payload: event }: Pick<Payload, 'email' | 'payload'>): unknown =>
  typeof given === 'object' ? given.to : (given ?? event?.['email']);
