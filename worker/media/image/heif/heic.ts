import { once } from 'node:events';
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { PermanentError } from '../../../base/errors.ts';
import { heicShrink } from '../estimate.ts';
import type { Coding } from '../colour.ts';
import { judge, timeoutSeconds, tooSlow } from '../judge.ts';
import type { Picture } from '../open.ts';
import type { HeicOutcome, HeicTask } from './heic-thread.ts';
import { shownSize, type Heif, type Size } from './header.ts';

/**
 * Writes the primary picture of a HEIC file as a PNG without compression, with 16 bits a sample where the HEIC has more
 * than 8: cropped, but not yet rotated, with its colour profile. Of a photograph with a gain map, this is the picture
 * for ordinary screens. A picture far larger than the box is shrunk while it is decoded, to at least twice the size
 * that fits.
 *
 * sharp comes without a decoder for HEVC, so libheif decodes, as WebAssembly. WebAssembly never gives memory back and
 * cannot be interrupted, so it runs in a thread of its own, which is terminated with all that it holds.
 * @returns the coding of the samples, for a picture whose profile does not give it
 * @throws PermanentError `image_corrupt`, `media_truncated`, `unsupported_image_format`, or `image_too_large` when it
 *   takes more than `memoryBytes`; RetryableError `image_timeout`; the signal's reason
 */
export async function heicToPng(
  picture: Picture,
  to: string,
  box: Size,
  { memoryBytes, signal }: { memoryBytes: number; signal: AbortSignal },
): Promise<Coding> {
  const { path, heif } = picture as Picture & { heif: Heif };
  const task: HeicTask = { from: path, to, heif, shrink: shrinkFor(heif, box), memoryBytes };
  const late = AbortSignal.timeout(timeoutSeconds * 1000);
  const thread = new Worker(new URL(`./heic-thread${extname(import.meta.url)}`, import.meta.url), {
    workerData: task,
    execArgv: [],
    env: {},
    stdout: true,
    resourceLimits: { maxOldGenerationSizeMb: 64 },
  });
  try {
    const [outcome] = (await once(thread, 'message', { signal: AbortSignal.any([signal, late]) })) as [HeicOutcome];
    if ('coding' in outcome) return outcome.coding;
    throw outcome.code === 'image_corrupt'
      ? judge(new Error(outcome.fault), picture)
      : new PermanentError(outcome.code, outcome.fault);
  } catch (error) {
    signal.throwIfAborted();
    if (late.aborted) throw tooSlow('heic');
    throw error;
  } finally {
    await thread.terminate();
  }
}

function shrinkFor(heif: Heif, box: Size): number {
  const { width, height } = shownSize(heif);
  return heicShrink(Math.min(1, box.width / width, box.height / height), heif.alpha !== undefined);
}
