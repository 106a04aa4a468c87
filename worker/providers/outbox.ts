import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sender } from './sender.ts';

/**
 * Writes a message to `DATA_DIR/outbox/<channel>/`, in place of sending it: in development, for a person to open. A
 * repeat overwrites its own files.
 * @param contents by extension: `{ eml, html, json }`
 */
export async function writeToOutbox(dir: string, key: string, contents: Record<string, string | Buffer>) {
  await mkdir(dir, { recursive: true });
  for (const [extension, content] of Object.entries(contents)) {
    const path = join(dir, `${key}.${extension}`);
    await writeFile(`${path}.part`, content, { mode: 0o600 });
    await rename(`${path}.part`, path);
  }
}

export const outboxOf = (dataDir: string, channel: string) => join(dataDir, 'outbox', channel);

/** The outbox of a channel, each message as .json. @param shown what the file says of a message */
export function createOutbox<Message>(
  channel: string,
  { dataDir }: { dataDir: string },
  shown: (message: Message, key: string) => unknown = (message) => message,
): Sender<Message> {
  const dir = outboxOf(dataDir, channel);
  return {
    name: 'outbox',
    address: dir,
    repeatable: true,
    async send(message, { key, signal }) {
      signal.throwIfAborted();
      await writeToOutbox(dir, key, { json: JSON.stringify(shown(message, key), null, 2) });
      return { provider_message_id: `${key}.json` };
    },
    check: async () => undefined,
  };
}
