import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { createClient, InvalidJob, type Client } from '../../../worker/queue/client/client.ts';
import { notificationQueue, type NotificationEvent } from '../../../worker/queue/client/notification.ts';
import { createRig, type Rig } from '../../support/worker.ts';

let rig: Rig;
let client: Client;
before(async () => {
  rig = await createRig();
  client = createClient(rig.db.url);
});
after(async () => {
  await client.close();
  await rig.close();
});

const invalid = (message: string) => (error: unknown) => {
  assert.ok(error instanceof InvalidJob);
  assert.equal(error.message, message);
  return true;
};
const added = async () =>
  (await rig.db.query(`select kind, payload, priority from notification_jobs order by id`)).rows;

const event: NotificationEvent = {
  notification_id: 'notif_abc123',
  message_id: 'msg_unique_id',
  target_user_id: 'user_123',
  channel: 'email',
  template_id: 'tmpl_welcome',
  payload: { user_name: 'John Doe', email: 'john@example.com' },
  priority: 'high',
  metadata: { source: 'signup_flow' },
};

test('they add the jobs that the messages and events describe', async () => {
  const { addPushNotificationJob, addEmailNotificationJob, addSmsNotificationJob, publish } = notificationQueue(client);
  const { created } = await addPushNotificationJob('userId', 'fcmToken', 'New Message', 'From John', { chatId: 'c' });
  await addEmailNotificationJob('userId', 'a@example.com', 'Reset', 'Click', { resetLink: 'https://x.example' });
  await addSmsNotificationJob('userId', '+14155550100', 'OTP', '123456', undefined, { priority: -1 });
  await publish('notifications.email', event);
  assert.ok(created);
  assert.deepEqual(await added(), [
    {
      kind: 'push',
      payload: {
        type: 'push',
        userId: 'userId',
        fcmToken: 'fcmToken',
        title: 'New Message',
        body: 'From John',
        data: { chatId: 'c' },
      },
      priority: 0,
    },
    {
      kind: 'email',
      payload: {
        type: 'email',
        userId: 'userId',
        email: 'a@example.com',
        title: 'Reset',
        body: 'Click',
        data: { resetLink: 'https://x.example' },
      },
      priority: 0,
    },
    {
      kind: 'sms',
      payload: { type: 'sms', userId: 'userId', phoneNumber: '+14155550100', title: 'OTP', body: '123456' },
      priority: -1,
    },
    { kind: 'email', payload: event, priority: -10 },
  ]);
});

test('what is missing, or of another channel than the topic, is not added', async () => {
  const { addPushNotificationJob, publish } = notificationQueue(client);
  await assert.rejects(
    addPushNotificationJob('user', '', 'x', 'y'),
    invalid('payload.fcmToken: must be a text that is not empty'),
  );
  await assert.rejects(
    publish('notifications.push', event),
    invalid('payload.channel: must be push, as the topic says'),
  );
});

test('with seal keys, the addresses and the words are sealed', async () => {
  const sealing = createClient(rig.db.url, { sealKeys: `k1:${randomBytes(32).toString('base64')}` });
  try {
    await notificationQueue(sealing).addPushNotificationJob('userId', 'canary-token', 'canary', 'canary', {
      otp: 'canary',
    });
    const [row] = (await added()).slice(-1);
    assert.doesNotMatch(JSON.stringify(row), /canary/);
    assert.equal(row!.payload.userId, 'userId');
  } finally {
    await sealing.close();
  }
});

test('sendBatchNotifications waits for the batch, and counts', async () => {
  const seen: unknown[] = [];
  await rig.worker(
    {
      'notification.batch': async ({ payload }) => {
        seen.push(payload);
        return { successCount: 2, failureCount: 1, unknownCount: 0 };
      },
      ...Object.fromEntries(['push', 'email', 'sms'].map((name) => [`notification.${name}`, async () => ({})])),
    },
    { QUEUES: 'notification' },
  );
  const { sendBatchNotifications } = notificationQueue(client);
  const userIds = ['user1', 'user2', 'user3'];
  const data = { groupId: 'group-123', type: 'group_message' };
  assert.deepEqual(await sendBatchNotifications(userIds, 'Group Message', 'New message in Tech Team', data), {
    successCount: 2,
    failureCount: 1,
  });
  assert.deepEqual(seen, [{ userIds, title: 'Group Message', body: 'New message in Tech Team', data }]);
  assert.deepEqual(await sendBatchNotifications([], 'x', 'y'), { successCount: 0, failureCount: 0 });
});
