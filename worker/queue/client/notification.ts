import type { StandardSchema } from '../schema.ts';
import type { Added, Client, JobOptions } from './client.ts';

type Data = Record<string, unknown>;

/** What the API of a notification system publishes. */
export type NotificationEvent = {
  notification_id?: string | undefined;
  message_id: string;
  target_user_id?: string | undefined;
  channel: string;
  template_id?: string | undefined;
  /** The variables of the template, and the address. */
  payload: Data;
  priority?: 'low' | 'normal' | 'high' | 'critical' | undefined;
  metadata?: Data | undefined;
};

type Counts = { successCount: number; failureCount: number };

/** @param address an FCM token, an email address, a phone number */
type AddNotificationJob = (
  userId: string,
  address: string,
  title: string,
  body: string,
  data?: Data,
  options?: JobOptions,
) => Promise<Added>;

export type NotificationQueue = {
  addPushNotificationJob: AddNotificationJob;
  addEmailNotificationJob: AddNotificationJob;
  addSmsNotificationJob: AddNotificationJob;
  /**
   * Tells many users one thing on all their devices, and waits until that is done.
   * @throws NotCompleted if the job failed, or took longer than `timeoutMs`: then it goes on
   */
  sendBatchNotifications(
    userIds: string[],
    title: string,
    body: string,
    data?: Data,
    options?: JobOptions & { timeoutMs?: number },
  ): Promise<Counts>;
  /** @param topic `notifications.` and the channel of the event, such as `notifications.email` */
  publish(topic: string, event: NotificationEvent, options?: JobOptions): Promise<void>;
};

/**
 * The functions by which a messenger's code and a notification system's API add their notifications, under the names
 * that they use:
 *
 *     // queues/notification.queue.ts
 *     import { createClient } from 'rowmill/client';
 *     import { notificationQueue } from 'rowmill/notification';
 *     const client = createClient(databaseUrl);
 *     export const { addPushNotificationJob, sendBatchNotifications, publish } = notificationQueue(client);
 *
 * They do not import the kinds, so a producer loads neither zod nor an SDK.
 */
export function notificationQueue(client: Client): NotificationQueue {
  const adding =
    (type: string, address: string) =>
    (userId: string, to: string, title: string, body: string, data?: Data, options?: JobOptions) =>
      client.add(
        kind(`notification.${type}`, ['userId', address, 'title', 'body']),
        { type, userId, [address]: to, title, body, data },
        options,
      );
  return {
    addPushNotificationJob: adding('push', 'fcmToken'),
    addEmailNotificationJob: adding('email', 'email'),
    addSmsNotificationJob: adding('sms', 'phoneNumber'),
    async sendBatchNotifications(userIds, title, body, data, { timeoutMs, ...options } = {}) {
      if (userIds.length === 0) return { successCount: 0, failureCount: 0 };
      const { id } = await client.add(
        kind('notification.batch', ['title', 'body']),
        { userIds, title, body, data },
        options,
      );
      const { result } = await client.wait(id, timeoutMs === undefined ? {} : { timeoutMs });
      const { successCount, failureCount } = result as Counts;
      return { successCount, failureCount };
    },
    async publish(topic, event, options) {
      const channel = topic.replace(/^notifications\./, '');
      await client.add(kind(`notification.${channel}`, ['message_id', 'channel'], { channel }), event, options);
    },
  };
}

/** With seal keys, the client seals these. */
const sensitive = ['fcmToken', 'email', 'phoneNumber', 'title', 'body', 'data', 'payload'];

/** Checks what the kind's own schema would, as far as these functions may be called wrong. */
const kind = (name: string, texts: string[], same: Record<string, string> = {}) => ({
  name,
  sensitive,
  payload: {
    '~standard': {
      version: 1 as const,
      vendor: 'rowmill',
      validate(value: unknown) {
        const given = value as Record<string, unknown>;
        const issues = [
          ...texts
            .filter((key) => typeof given[key] !== 'string' || given[key] === '')
            .map((key) => ({ path: [key], message: 'must be a text that is not empty' })),
          ...Object.entries(same)
            .filter(([key, expected]) => given[key] !== expected)
            .map(([key, expected]) => ({ path: [key], message: `must be ${expected}, as the topic says` })),
        ];
        return issues.length > 0 ? { issues } : { value: given };
      },
    },
  } satisfies StandardSchema<Record<string, unknown>>,
});
