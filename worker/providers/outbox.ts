import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

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
