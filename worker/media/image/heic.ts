import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { HeicTask, HeicOutcome } from './heic-thread.ts';
import { corrupt, timeoutSeconds, tooSlow } from './judge.ts';
import type { Picture } from './open.ts';

/**
 * Writes the primary picture of a HEIC file as a PNG of no compression: turned and mirrored as the file says, with its colour
 * profile. Of an HDR photograph that is what an ordinary screen shows.
 *
 * sharp comes without a decoder for HEVC, so libheif does it, as WebAssembly. That never gives memory back and cannot be stopped: it
 * gets a thread of its own, which is ended with all that it held.
 * @throws PermanentError `image_corrupt`, `media_truncated`; RetryableError `image_timeout`; the signal's reason
 */
export async function heicToPng(
  picture: Picture,
  to: string,
  { memoryBytes, signal }: { memoryBytes: number; signal: AbortSignal },
): Promise<void> {
  const { path, source, profile } = picture;
  const { width, height, has_alpha } = source;
  const task: HeicTask = { from: path, to, width, height, has_alpha, profile, memoryBytes };
  const late = AbortSignal.timeout(timeoutSeconds * 1000);
  const thread = new Worker(new URL('./heic-thread.ts', import.meta.url), {
    workerData: task,
    execArgv: [],
    env: {},
    stdout: true,
    resourceLimits: { maxOldGenerationSizeMb: 64 },
  });
  try {
    const [outcome] = (await once(thread, 'message', { signal: AbortSignal.any([signal, late]) })) as [HeicOutcome];
    if (outcome.fault) throw corrupt(picture, outcome.fault);
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) throw tooSlow('heic');
    throw error;
  } finally {
    await thread.terminate();
  }
}
