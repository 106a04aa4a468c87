import type { TokenMessage } from 'firebase-admin/messaging';

/** A push to one device. */
export type PushMessage = {
  /** What FCM calls the device's registration. */
  token: string;
  title: string;
  body: string;
  /** For the app. */
  data: Record<string, string>;
  /** Undefined: as the platforms do it. */
  priority: 'low' | 'normal' | 'high' | undefined;
  /** Seconds that the device has to come online. Undefined: four weeks. */
  ttl: number | undefined;
  /** A later message with the same key takes the place of this one. */
  collapseKey: string | undefined;
  /** Of Android. Without: PUSH_ANDROID_CHANNEL. */
  channelId: string | undefined;
  /** The name of a sound in the app. Undefined: the usual sound. */
  sound: string | undefined;
  /** Of Android: what opens when it is tapped. */
  clickAction: string | undefined;
  /** Of iOS: the number on the app's icon. */
  badge: number | undefined;
  /** Of iOS: which buttons it has. */
  category: string | undefined;
  /** Of the web: the page that opens. */
  link: string | undefined;
  image: string | undefined;
};

/** https://firebase.google.com/docs/cloud-messaging/customize-messages/setting-message-lifespan */
const longestTtl = 2_419_200;

/**
 * For FCM. Each platform shows one message of the same tag: so one that is sent again takes the place of the first.
 * https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
 */
export function fcmMessageOf(message: PushMessage, androidChannel: string | undefined, key: string): TokenMessage {
  const { token, title, body, data, priority, ttl, collapseKey, sound = 'default', image } = message;
  const { channelId = androidChannel, clickAction, badge, category, link } = message;
  const seconds = ttl === undefined ? undefined : Math.min(Math.max(Math.ceil(ttl), 1), longestTtl);
  const tag = collapseKey ?? key;
  const isUrgent = priority === 'high';
  return {
    token,
    notification: given({ title: title || undefined, body, imageUrl: image }),
    ...(Object.keys(data).length > 0 ? { data } : {}),
    android: given({
      priority: priority && (isUrgent ? ('high' as const) : ('normal' as const)),
      ttl: seconds && seconds * 1_000,
      collapseKey,
      notification: given({ tag, channelId, sound, clickAction }),
    }),
    apns: {
      headers: given({
        'apns-push-type': 'alert',
        'apns-collapse-id': tag,
        'apns-priority': priority && (isUrgent ? '10' : '5'),
        'apns-expiration': seconds === undefined ? undefined : String(Math.floor(Date.now() / 1_000) + seconds),
      }),
      payload: { aps: given({ sound, badge, category }) },
    },
    webpush: given({
      headers:
        seconds === undefined && !priority
          ? undefined
          : given({ TTL: seconds === undefined ? undefined : String(seconds), Urgency: priority }),
      notification: { tag },
      fcmOptions: link === undefined ? undefined : { link },
    }),
  };
}

type Given<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Without what is undefined. */
const given = <T extends object>(fields: T) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Given<T>>;
