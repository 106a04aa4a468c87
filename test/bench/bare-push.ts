import { randomUUID } from 'node:crypto';
import { Lines } from '../../worker/providers/push/fcm-lines.ts';
import { fcmMessageOf, type PushMessage } from '../../worker/providers/push/push.ts';
import { workThrough } from './bare.ts';

// The anchor: `sendEach` of firebase-admin alone, with the messages that our job makes, over connections that are kept
// and lead to the stand-in.

const credential = { getAccessToken: async () => ({ access_token: 'access-bare', expires_in: 3_600 }) };
const lines = await Lines.open(process.env['FCM_URL'], 'shop', credential);
const { messaging } = lines.take();
const message = { title: 'Your order', body: 'It is on its way.', data: {} } as PushMessage;

await workThrough(async (tokens) => {
  const messages = tokens.split(',').map((token) => fcmMessageOf({ ...message, token }, undefined, randomUUID()));
  const { failureCount } = await messaging.sendEach(messages);
  if (failureCount > 0) throw new Error(`${failureCount} pushes have failed`);
});
