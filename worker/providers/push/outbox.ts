import type { Config } from '../../base/config/config.ts';
import { createOutbox } from '../outbox.ts';
import type { Sender } from '../sender.ts';
import { fcmMessageOf, type PushMessage } from './push.ts';

/** Pushes as files: what FCM would be sent. */
export const createPushOutbox = (config: Pick<Config, 'dataDir' | 'push'>): Sender<PushMessage> =>
  createOutbox('push', config, (message, key) => fcmMessageOf(message, config.push.androidChannel, key));
