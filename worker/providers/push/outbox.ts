import type { Config } from '../../base/config/config.ts';
import { outboxOf, writeToOutbox } from '../outbox.ts';
import type { Sender } from '../sender.ts';
import { fcmMessageOf, type PushMessage } from './push.ts';

/** Pushes as files: what FCM would be sent. */
export function createPushOutbox({ dataDir, push }: Pick<Config, 'dataDir' | 'push'>): Sender<PushMessage> {
  const dir = outboxOf(dataDir, 'push');
  return {
    name: 'outbox',
    address: dir,
    repeatable: true,
    async send(message, { key, signal }) {
      signal.throwIfAborted();
      await writeToOutbox(dir, key, { json: JSON.stringify(fcmMessageOf(message, push.androidChannel, key), null, 2) });
      return { provider_message_id: `${key}.json` };
    },
    check: async () => undefined,
  };
}
