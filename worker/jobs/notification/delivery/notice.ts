import { z } from 'zod';
import type { App } from '../../../app.ts';
import { PermanentError } from '../../../base/errors.ts';
import { storedNotification } from './ledger.ts';

/**
 * What payloads of all channels have in common. Three forms of JSON are read as they are:
 *
 *     { type, userId, email, title, body, data }                                  a message and its words
 *     { type, template, templateData, email: { to, subject } }                    a template and its variables
 *     { notification_id, message_id, target_user_id, channel, template_id, payload, priority, metadata }   an event
 */

const text = (most: number) => z.string().min(1).max(most);
const id = z.union([z.string().min(1).max(500), z.int()]).transform(String);
const record = z.record(z.string(), z.unknown());

/** The fields of each channel's payload, beside those that name the recipient. */
export const noticeFields = {
  /** If given, it must be the channel. */
  type: z.string().optional(),
  channel: z.string().optional(),
  /** A second job with the same message_id sends nothing. Default: `job:<id of the job>`. */
  message_id: text(500).optional(),
  /** A row of notifications. What the payload lacks is taken from it. */
  notification_id: id.optional(),
  target_user_id: id.optional(),
  userId: id.optional(),
  template_id: text(200).optional(),
  template: text(200).optional(),
  /** The variables of the template. */
  payload: record.optional(),
  templateData: record.optional(),
  data: record.optional(),
  title: z.string().max(1_000).optional(),
  body: z.string().max(200_000).optional(),
  priority: z.enum(['low', 'normal', 'high', 'critical']).optional(),
  metadata: record.optional(),
  /** The language of the template. Default: DEFAULT_LOCALE. */
  locale: z
    .string()
    .max(100)
    .regex(/^[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*$/)
    .optional(),
  /** The mailing list that the message belongs to, so that its recipient can unsubscribe from it. */
  list: text(200).optional(),
  /** Seconds after which it is too late. */
  ttl: z.number().positive().max(31_536_000).optional(),
};

/** What of them may have a login code or an address. A kind adds the fields that name its recipient. */
export const sensitiveFields = ['title', 'body', 'data', 'templateData', 'payload'];

type Fields = z.output<z.ZodObject<typeof noticeFields>>;

/** What is to be told, in one form. */
export type Notice = {
  message_id: string | undefined;
  notification_id: string | undefined;
  target_user_id: string | undefined;
  template_id: string | undefined;
  variables: Record<string, unknown>;
  title: string | undefined;
  body: string | undefined;
  priority: 'low' | 'normal' | 'high' | 'critical';
  metadata: Record<string, unknown>;
  locale: string | undefined;
  list: string | undefined;
};

export function noticeOf(fields: Fields): Notice {
  const { message_id, notification_id, title, body, priority = 'normal', metadata = {}, list } = fields;
  return {
    message_id,
    notification_id,
    target_user_id: fields.target_user_id ?? fields.userId,
    template_id: fields.template_id ?? fields.template,
    variables: { ...fields.data, ...fields.templateData, ...fields.payload },
    title,
    body,
    priority,
    metadata,
    locale: fields.locale?.replaceAll('_', '-'),
    list,
  };
}

/**
 * The payload, with what the user's API wrote to the row of notifications that it names.
 * @throws PermanentError `invalid_payload` for a type or a channel that is another
 */
export async function completePayload<Payload extends Fields>(
  app: Pick<App, 'db' | 'config'>,
  channel: string,
  payload: Payload,
): Promise<Payload> {
  for (const name of ['type', 'channel'] as const) {
    const named = payload[name];
    if (named !== undefined && named !== channel)
      throw new PermanentError('invalid_payload', `payload.${name}: is ${named.slice(0, 40)}, not ${channel}`);
  }
  const stored = payload.notification_id ? await storedNotification(app, payload.notification_id) : undefined;
  if (!stored) return payload;
  const { target_user_id, template_id, ...others } = stored;
  const written = {
    message_id: others.message_id,
    ...(target_user_id === null ? {} : { target_user_id }),
    ...(template_id === null ? {} : { template_id }),
    ...(others.payload === null ? {} : { payload: others.payload }),
    priority: others.priority,
    metadata: others.metadata,
  };
  return { ...written, ...payload };
}
