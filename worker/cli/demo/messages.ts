/** A row for notification_jobs, and how many messages it makes. */
export type Sample = {
  kind: string;
  about: string;
  payload: Record<string, unknown>;
  reaches: number;
  broken?: true;
};

const dashboard_url = 'https://shop.example/dashboard';
const phone = '+14155550123';

/** One message of each channel, in the three forms of JSON. */
export const samples: Sample[] = [
  {
    kind: 'email',
    about: 'an event: template welcome',
    reaches: 1,
    payload: {
      target_user_id: 'demo-ada',
      channel: 'email',
      template_id: 'tmpl_welcome',
      payload: { user_name: 'Ada', email: 'ada@example.com', dashboard_url },
      priority: 'normal',
      metadata: { source: 'signup_flow' },
    },
  },
  {
    kind: 'email',
    about: 'words, and a link that becomes a button',
    reaches: 1,
    payload: {
      type: 'email',
      userId: 'demo-grace',
      email: 'grace@example.com',
      title: 'Password reset',
      body: 'Click the button below to choose a new password.',
      data: { resetLink: 'https://shop.example/reset/token123', expiresIn: '1 hour' },
    },
  },
  {
    kind: 'sms',
    about: 'a login code, of no use after ten minutes',
    reaches: 1,
    payload: { type: 'sms', phoneNumber: phone, body: 'Your login code is 424242.', priority: 'critical', ttl: 600 },
  },
  {
    kind: 'whatsapp',
    about: 'template otp',
    reaches: 1,
    payload: { type: 'whatsapp', template: 'otp', templateData: { code: '424242' }, whatsapp: { to: phone } },
  },
  {
    kind: 'push',
    about: 'to one device',
    reaches: 1,
    payload: {
      type: 'push',
      userId: 'demo-ada',
      fcmToken: 'token-of-adas-tablet',
      title: 'New message',
      body: 'Grace: are you there?',
      data: { type: 'message', chatId: 'chat-17' },
    },
  },
  {
    kind: 'batch',
    about: 'a push to two users, who have three devices',
    reaches: 3,
    payload: { userIds: ['demo-ada', 'demo-grace'], title: 'Group message', body: 'New message in Tech Team' },
  },
  {
    kind: 'slack',
    about: 'to a channel',
    reaches: 1,
    payload: { type: 'slack', slack: { channel: '#ops' }, title: 'Deployed', body: 'Version 42 is live.' },
  },
  {
    kind: 'webhook',
    about: 'to a receiver, signed',
    reaches: 1,
    payload: { type: 'webhook', webhook: { endpoint: 'demo', event: 'order.shipped' }, data: { order: 17 } },
  },
  {
    kind: 'email',
    about: 'template video-complete, without its title',
    broken: true,
    reaches: 1,
    payload: {
      type: 'email',
      template: 'video-complete',
      templateData: { name: 'Ada', videoUrl: 'https://shop.example/videos/17' },
      email: { to: 'ada@example.com' },
    },
  },
];
