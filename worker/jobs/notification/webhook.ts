import { z } from 'zod';
import { PermanentError } from '../../base/errors.ts';
import type { WebhookMessage } from '../../providers/webhook/message.ts';
import { job, minutes } from '../../queue/job.ts';
import { deliver, type Channel } from './delivery/deliver.ts';
import { findEndpoint, noteAnswer } from './delivery/endpoints.ts';
import { noticeFields, sensitiveFields } from './delivery/notice.ts';

const text = (most: number) => z.string().min(1).max(most).optional();

const payload = z
  .object({
    ...noticeFields,
    /** The id of an endpoint or a URL, or with it what is signed and said. An event has them in its payload. */
    webhook: z
      .union([
        z.string().min(1).max(2_000),
        z.object({
          endpoint: text(200),
          url: text(2_000),
          secret: text(200),
          event: text(200),
          body: z.json().optional(),
        }),
      ])
      .optional(),
    endpoint_id: text(200),
    endpointId: text(200),
    webhook_url: text(2_000),
    webhookUrl: text(2_000),
    webhook_secret: text(200),
    webhookSecret: text(200),
  })
  .superRefine((given, context) => {
    if (targetIn(given) === undefined && given.notification_id === undefined)
      context.addIssue({
        code: 'custom',
        path: ['webhook'],
        message: 'is missing: the endpoint or the URL to write to',
      });
  });

type Payload = z.output<typeof payload>;

/** Posts a message to an address of the web, signed. A repeat of a job that already posted is a no-op. */
export default job({
  name: 'notification.webhook',
  payload,
  sensitive: [
    ...sensitiveFields,
    ...'webhook.url webhook.secret webhook.body webhook_url webhookUrl webhook_secret webhookSecret'.split(' '),
  ],
  timeout: minutes(2),
  run: (context) => deliver(context, webhook),
});

const webhook: Channel<Payload, WebhookMessage> = {
  name: 'webhook',
  senders: (app) => app.webhook,
  personal: false,
  recipientOf,
  ownContent: ({ webhook: given }) =>
    typeof given === 'object' ? { event: given.event, body: given.body } : undefined,
  async compose(given, recipient, { app, notice, delivery_id, words }) {
    const isUrl = urlSyntax.test(recipient);
    const { created_at, endpoint } = await findEndpoint(app, delivery_id, isUrl ? undefined : recipient);
    const { event = notice.template_id ?? 'notification', body } =
      typeof given.webhook === 'object' ? given.webhook : {};
    const whole = body ?? { type: event, timestamp: created_at.toISOString(), data: await dataOf(notice, words) };
    const secret = secretIn(given) ?? app.config.webhook.secret;
    const to = endpoint ?? { url: recipient, secrets: secret === undefined ? [] : [secret] };
    return { ...to, body: JSON.stringify(whole) };
  },
  async noteOutcome(tx, app, recipient, error) {
    if (!urlSyntax.test(recipient)) await noteAnswer(tx, app, recipient, error);
  },
};

const urlSyntax = /:\/\//;
/** What an event has in its payload that is not for the receiver. */
const addressing = ['endpoint_id', 'webhook_url', 'webhook_secret'];

type Making = Parameters<typeof webhook.compose>[2];

/** The variables, and the words if there are some. */
async function dataOf(
  { variables, template_id, title, body, target_user_id }: Making['notice'],
  words: Making['words'],
) {
  const own = Object.fromEntries(Object.entries(variables).filter(([name]) => !addressing.includes(name)));
  const hasWords = Boolean(template_id ?? title ?? body) || Object.keys(own).length === 0;
  const { subject, text: said } = hasWords ? await words() : {};
  return { ...own, ...(hasWords ? { title: subject, body: said } : {}), user_id: target_user_id };
}

/** The id of an endpoint, or a URL. @throws PermanentError `invalid_recipient` */
function recipientOf(given: Payload): string {
  const found = targetIn(given);
  if (found === undefined) throw new PermanentError('invalid_payload', 'payload.webhook: is missing');
  const named = typeof found === 'string' ? found.trim() : '';
  if (/^[A-Za-z0-9_.-]{1,200}$/.test(named)) return named;
  const url = urlSyntax.test(named) ? URL.parse(named) : null;
  if (!url)
    throw new PermanentError('invalid_recipient', 'payload.webhook: is neither the id of an endpoint nor a URL');
  return url.href;
}

function targetIn({ webhook: given, ...named }: Payload): unknown {
  if (typeof given === 'string') return given;
  const { endpoint_id, webhook_url } = named.payload ?? {};
  const endpoint = given?.endpoint ?? named.endpoint_id ?? named.endpointId ?? endpoint_id;
  return endpoint ?? given?.url ?? named.webhook_url ?? named.webhookUrl ?? webhook_url;
}

function secretIn({ webhook: given, ...named }: Payload): string | undefined {
  const own = typeof given === 'object' ? given.secret : undefined;
  const inEvent = named.payload?.['webhook_secret'];
  return own ?? named.webhook_secret ?? named.webhookSecret ?? (typeof inEvent === 'string' ? inEvent : undefined);
}
