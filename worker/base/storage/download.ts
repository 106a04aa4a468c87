import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { codeOf, PermanentError } from '../errors.ts';
import { writeNew } from '../new-file.ts';
import { withRetries } from '../retry.ts';
import { tempError } from '../temp.ts';
import type { Storage } from './storage.ts';

export type Downloaded = { bytes: number; sha256: string };

/**
 * Streams an object into a new private file. When it throws, the file is removed.
 * @throws PermanentError `object_not_found`, `file_too_large`, `empty_file`; what Storage throws; the signal's reason
 */
export async function download(
  storage: Storage,
  key: string,
  { to, maxBytes, signal }: { to: string; maxBytes: number; signal: AbortSignal },
): Promise<Downloaded> {
  let hash = createHash('sha256');
  let bytes = 0;
  let receiving = false;
  async function* measured(chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > maxBytes)
        throw new PermanentError(
          'file_too_large',
          `The file has more than ${Math.floor(maxBytes / 1e6)} MB (MEDIA_MAX_MB)`,
        );
      hash.update(chunk);
      yield chunk;
    }
  }
  /** Each try begins at the first byte: the server may send a different object than before. */
  async function receive(): Promise<void> {
    receiving = false;
    const body = await storage.get(key, { signal });
    receiving = true;
    hash = createHash('sha256');
    bytes = 0;
    try {
      await writeNew(to, (file) => pipeline(body, measured, file, { signal }));
    } catch (error) {
      signal.throwIfAborted();
      throw tempError(error);
    }
  }
  // `get` has its own retries: its errors are not retried here.
  await withRetries(receive, (error) => (receiving && isBroken(error) ? {} : undefined), signal);
  if (bytes === 0) throw new PermanentError('empty_file', 'The file is empty');
  return { bytes, sha256: hash.digest('hex') };
}

const isBroken = (error: unknown) => ['storage_unavailable', 'storage_timeout'].includes(codeOf(error) ?? '');
