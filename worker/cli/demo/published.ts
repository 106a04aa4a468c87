/** A message as a producer publishes it, and what has to become of it. */
export type Published = {
  key: string;
  about: string;
  body: object | string;
  options?: { messageId?: string; priority?: number; headers?: Record<string, unknown> };
  becomes: 'job' | 'failed job' | 'no job' | 'rejected';
};

const order = { type: 'email', email: 'ada@example.com', title: 'Your order is on its way', body: 'It left today.' };
const code = { type: 'sms', phoneNumber: '+14155550123', body: 'Your login code is 424242.' };

/** What a bridge meets: most of it is good, some comes twice, and some is wrong. */
export const published: Published[] = [
  {
    key: 'notification.email',
    about: 'with a messageId',
    body: order,
    options: { messageId: 'order-17' },
    becomes: 'job',
  },
  {
    key: 'notification.email',
    about: 'the same messageId again: the producer got no answer, and sent it twice',
    body: order,
    options: { messageId: 'order-17' },
    becomes: 'no job',
  },
  { key: 'notification.sms', about: 'without a messageId', body: code, becomes: 'job' },
  {
    key: 'notification.sms',
    about: 'equal to the one before: without a messageId, both count',
    body: code,
    becomes: 'job',
  },
  {
    key: 'notification.push',
    about: 'priority 9, so it runs first',
    body: { type: 'push', userId: 'demo-ada', fcmToken: 'token-of-adas-phone', title: 'New message', body: 'Hello' },
    options: { priority: 9 },
    becomes: 'job',
  },
  {
    key: 'notification.slack',
    about: 'x-delay: one second',
    body: { type: 'slack', slack: { channel: '#ops' }, title: 'Deployed', body: 'Version 42 is live.' },
    options: { headers: { 'x-delay': 1_000 } },
    becomes: 'job',
  },
  { key: 'notification.fax', about: 'there is no such kind', body: { to: 'ada' }, becomes: 'failed job' },
  { key: 'notification.email', about: 'cut off in the middle', body: '{"type": "email", "ema', becomes: 'rejected' },
];
