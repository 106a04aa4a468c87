import { z } from 'zod';
import type { PushMessage } from '../../providers/push/push.ts';
import { job, minutes } from '../../queue/job.ts';
import { broadcast } from './delivery/broadcast.ts';
import { noticeFields, sensitiveFields } from './delivery/notice.ts';
import { pushMessageOf, pushOptions, toDevices } from './delivery/push.ts';

const { target_user_id: id, userId: _, notification_id: __, ...fields } = noticeFields;

const payload = z.object({
  ...fields,
  /** Whom to tell. A user who is named twice is told once. */
  userIds: z.array(id.unwrap()).min(1).max(50_000),
  type: z.enum(['batch', 'push']).optional(),
  channel: z.enum(['push']).optional(),
  ...pushOptions,
});

/** Tells many users one thing, on all their devices. A repeat sends only what was not sent. */
export default job({
  name: 'notification.batch',
  payload,
  sensitive: [...sensitiveFields, 'link', 'image', 'clickAction'],
  maxValues: 60_000,
  timeout: minutes(10),
  run: (context) => broadcast<z.output<typeof payload>, PushMessage>(context, { ...toDevices, compose: pushMessageOf }),
});
