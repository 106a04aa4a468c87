import { z } from 'zod';
import { PermanentError } from '../../base/errors.ts';
import type { PushMessage } from '../../providers/push/push.ts';
import { job, minutes } from '../../queue/job.ts';
import { deliverMany, type ManyChannel } from './delivery/deliver-many.ts';
import { noticeFields, sensitiveFields } from './delivery/notice.ts';
import { checkedToken, pushMessageOf, pushOptions, toDevices } from './delivery/push.ts';

const token = z.string().min(1);
const { title, body, data } = noticeFields;
const given = z.object({
  ...noticeFields,
  /** The device. Without one, the push goes to all devices of the user. An event has it in its payload. */
  fcmToken: token.optional(),
  /** The device, or with it the words and how it looks. */
  push: z
    .union([
      token,
      z.object({
        token: token.optional(),
        to: token.optional(),
        fcmToken: token.optional(),
        title,
        body,
        data,
        ...pushOptions,
      }),
    ])
    .optional(),
  ...pushOptions,
});

type Payload = Omit<z.output<typeof given>, 'push'>;

const payload = given.transform(inOne).superRefine((all, context) => {
  if (tokenIn(all) !== undefined || userIn(all) !== undefined || all.notification_id !== undefined) return;
  context.addIssue({
    code: 'custom',
    path: ['fcmToken'],
    message: 'is missing, and so is userId: the device, or the user',
  });
});

/** Sends pushes, up to 500 with one call. A repeat of a job that already sent is a no-op. */
export default job({
  name: 'notification.push',
  payload,
  sensitive: [...sensitiveFields, 'fcmToken', 'push', 'link', 'image', 'clickAction'],
  timeout: minutes(5),
  batchSize: 500,
  runBatch: (jobs, batch) => deliverMany(jobs, batch, push),
});

const push: ManyChannel<Payload, PushMessage> = {
  ...toDevices,
  addressOf(all) {
    const found = tokenIn(all);
    if (found !== undefined) return { recipient: checkedToken(found) };
    const userId = userIn(all);
    if (userId !== undefined) return { userId };
    throw new PermanentError('invalid_payload', 'payload.fcmToken: is missing, and so is userId');
  },
  compose: pushMessageOf,
};

/** What stands in `push`, beside the other fields. */
function inOne({ push: inside, ...others }: z.output<typeof given>): Payload {
  if (inside === undefined) return others;
  if (typeof inside === 'string') return { ...others, fcmToken: inside };
  const { token: device, to, ...fields } = inside;
  const fcmToken = device ?? to ?? inside.fcmToken;
  return { ...others, ...fields, data: { ...others.data, ...fields.data }, ...(fcmToken ? { fcmToken } : {}) };
}

const names = ['fcmToken', 'fcm_token', 'device_token', 'deviceToken', 'push_token', 'token'];

function tokenIn({ fcmToken, payload: event = {} }: Pick<Payload, 'fcmToken' | 'payload'>): unknown {
  return fcmToken ?? names.map((name) => event[name]).find((value) => value !== undefined);
}

const userIn = ({ target_user_id, userId }: Pick<Payload, 'target_user_id' | 'userId'>) => target_user_id ?? userId;
