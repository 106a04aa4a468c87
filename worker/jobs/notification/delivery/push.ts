import { z } from 'zod';
import type { App } from '../../../app.ts';
import { PermanentError } from '../../../base/errors.ts';
import type { PushMessage } from '../../../providers/push/push.ts';
import type { Words } from '../../../templates/template.ts';
import { devicesOf, markInvalid } from './devices.ts';
import type { Fields } from './steps.ts';

/** How a push looks and behaves. */
export const pushOptions = {
  /** A later push with the same key takes the place of this one. APNs takes 64 bytes. */
  collapseKey: z.string().min(1).max(64).optional(),
  /** The notification channel of the Android app. Default: PUSH_ANDROID_CHANNEL. */
  channelId: z.string().min(1).max(200).optional(),
  /** The name of a sound in the app. Default: the usual sound. */
  sound: z.string().min(1).max(200).optional(),
  /** Of Android: what opens when it is tapped. */
  clickAction: z.string().min(1).max(500).optional(),
  /** Of iOS: the number on the app's icon. */
  badge: z.int().min(0).max(1_000_000).optional(),
  /** Of iOS: which buttons it has. */
  category: z.string().min(1).max(200).optional(),
  /** Of the web: the page that opens. */
  link: z
    .url({ protocol: /^https$/, error: 'must be an https URL' })
    .max(2_000)
    .optional(),
  image: z
    .url({ protocol: /^https$/, error: 'must be an https URL' })
    .max(2_000)
    .optional(),
};

/** What pushes of all kinds have in common. */
export const toDevices = {
  name: 'push' as const,
  senders: (app: App) => app.push,
  personal: true,
  recipientsOf: (app: App, userIds: string[]) => devicesOf(app, userIds),
  refused: (app: App, tokens: string[]) => markInvalid(app.db, tokens),
};

type Options = z.output<z.ZodObject<typeof pushOptions>>;

/** @throws PermanentError `invalid_recipient` */
export function checkedToken(given: unknown): string {
  const token = typeof given === 'string' ? given.trim() : '';
  if (!/^[\x21-\x7e]{1,4096}$/.test(token))
    throw new PermanentError('invalid_recipient', 'payload.fcmToken: is no token of a device');
  return token;
}

/** @throws PermanentError `invalid_payload` */
export function pushMessageOf(given: Fields & Options, { subject, text }: Words, token: string): PushMessage {
  const { collapseKey, channelId, sound, clickAction, badge, category, link, image, ttl, priority } = given;
  return {
    token,
    title: subject,
    body: text,
    data: textsOf(given.data ?? {}),
    priority: priority === 'critical' ? 'high' : priority,
    ttl,
    collapseKey,
    channelId,
    sound,
    clickAction,
    badge,
    category,
    link,
    image,
  };
}

/** https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages */
const reserved = /^(from|message_type|notification|gcm\..*|google.*)$/;

/** FCM takes texts alone: numbers, lists and objects become JSON. */
function textsOf(data: Record<string, unknown>): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(data)) {
    if (reserved.test(key))
      throw new PermanentError('invalid_payload', `payload.data.${key}: FCM keeps this key for itself`);
    if (value === undefined || value === null) continue;
    texts[key] = typeof value === 'string' ? value : JSON.stringify(value);
  }
  return texts;
}
