import { createWriteStream, type WriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { codeOf } from './errors.ts';

/** Writes a new file, which only this user can read. When `write` throws, there is no file. */
export async function writeNew(path: string, write: (file: WriteStream) => Promise<unknown>): Promise<void> {
  const file = createWriteStream(path, { flags: 'wx', mode: 0o600 });
  try {
    await write(file);
  } catch (error) {
    // A stream that fails at once creates its file after that.
    file.destroy();
    if (!file.closed) await new Promise<void>((resolve) => void file.once('close', resolve));
    if (codeOf(error) !== 'EEXIST') await rm(path, { force: true });
    throw error;
  }
}
