import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { RetryableError } from '../errors.ts';
import type { Storage } from './storage.ts';

/**
 * Writes, reads and deletes a small object: rights are often granted for one of these and forgotten for another.
 * @throws what is wrong, with its code
 */
export async function checkByDoing(storage: Storage, options: { signal?: AbortSignal } = {}): Promise<void> {
  const key = `rowmill-check/${randomUUID()}.txt`;
  const written = Buffer.from('Written by rowmill to see whether it can. It may be deleted.\n');
  await storage.put(key, written, { contentType: 'text/plain', ...options });
  try {
    const read = await buffer(await storage.get(key, options));
    if (!read.equals(written)) throw new RetryableError('storage_refused', `${key} did not read as it was written`);
  } catch (error) {
    await storage.delete([key], options).catch(() => {});
    throw error;
  }
  const [failure] = await storage.delete([key], options);
  if (failure) throw new RetryableError(failure.error_code, failure.error);
}
