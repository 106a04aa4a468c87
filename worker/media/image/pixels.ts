import { rm } from 'node:fs/promises';
import type { ResizeOptions } from 'sharp';
import { PermanentError } from '../../base/errors.ts';
import { estimateMemory, type Target } from '../estimate.ts';
import type { MemoryGate } from '../memory.ts';
import { sharp } from '../sharp.ts';
import { label } from '../sniff.ts';
import { maxPixels, tooManyPixels } from '../structure/limits.ts';
import { heicToPng } from './heic.ts';
import { timeoutSeconds } from './judge.ts';
import { openPicture, readOptions, type Picture, type Source } from './open.ts';
import { decodeWhole, type Truncated } from './whole.ts';

/** A decoded picture: upright, 8-bit sRGB or grey, with alpha if it has any. */
export type Pixels = { data: Buffer; info: { width: number; height: number; channels: 1 | 2 | 3 | 4 } };

export type Means = { signal: AbortSignal; memory: MemoryGate; truncated?: Truncated };

/**
 * Decodes a picture file once, no larger than `target` wants, and lets `work` make what it likes of the pixels while the memory
 * for all of it is held. sharp cannot be stopped in the middle: an abort takes effect at the next step.
 * @throws PermanentError as openPicture does, and `image_too_large` before anything is decoded; RetryableError
 *   `image_timeout`; the signal's reason
 */
export async function withPixels<T>(
  path: string,
  target: Target,
  { signal, memory, truncated = 'refuse' }: Means,
  work: (pixels: Pixels, picture: Picture) => Promise<T>,
): Promise<{ source: Source; made: T }> {
  const picture = await openPicture(path);
  try {
    const need = admissible(picture, target, memory.pictureBytes);
    return await memory.run(need, signal, async () => {
      signal.throwIfAborted();
      const decoded = await (picture.format === 'heic'
        ? decodeHeic(picture, target, need, signal)
        : decode(picture, target, truncated));
      signal.throwIfAborted();
      const made = await work(decoded.made, picture);
      release(decoded.made);
      const source: Source = decoded.truncated ? { ...picture.source, truncated: true } : picture.source;
      return { source, made };
    });
  } finally {
    if (picture.mended) await rm(picture.mended.path, { force: true });
  }
}

/** The bytes of memory to ask for. @throws PermanentError `image_too_large` when there can never be enough */
function admissible({ source, layout, structure }: Picture, target: Target, budget: number): number {
  const picture = `the ${label[source.format]} has ${source.width} x ${source.height} pixels`;
  if (source.width * source.height > maxPixels) throw tooManyPixels(label[source.format], source.width, source.height);
  const need = estimateMemory({ ...source, ...layout, ...structure }, target);
  if (need > budget) {
    const megabytes = `needs about ${Math.ceil(need / 1e6)} MB to decode and shrink`;
    throw new PermanentError(
      'image_too_large',
      `${picture} and ${megabytes}: MEDIA_MEMORY_MB is ${Math.floor(budget / 1e6)}`,
    );
  }
  return need;
}

type Decoded = { made: Pixels; truncated: boolean };

function decode(picture: Picture, { box }: Pick<Target, 'box'>, truncated: Truncated): Promise<Decoded> {
  const { path, page, layout, profile } = picture;
  return decodeWhole(picture, { truncated, frames: 1 }, (failOn) => {
    const pipeline = sharp(path, { ...readOptions, failOn, page })
      .resize(within(box))
      .toColourspace('srgb')
      .timeout({ seconds: timeoutSeconds });
    // sharp takes a deep picture with a profile to P3 to work on, and does not come back from there by itself.
    if (layout.deep && layout.channels >= 3 && profile) pipeline.withIccProfile('srgb', { attach: false });
    return pipeline.raw().toBuffer({ resolveWithObject: true });
  });
}

/** By way of a PNG beside it, which keeps the colour profile, and from which libvips takes line by line. */
async function decodeHeic(
  picture: Picture,
  target: Target,
  memoryBytes: number,
  signal: AbortSignal,
): Promise<Decoded> {
  const path = `${picture.path}.png`;
  try {
    await heicToPng(picture, path, { memoryBytes, signal });
    return await decode(await openPicture(path), target, 'refuse');
  } finally {
    await rm(path, { force: true });
  }
}

/**
 * Frees the memory now. V8 would get round to it tens of megabytes later: it sees how small its own heap is. Not for pixels that
 * libvips may be reading still, as after an error.
 */
function release({ data }: Pixels): void {
  if (data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength) data.buffer.transfer(0);
}

/** Smaller if need be, and the very same pixels if not. */
export async function shrink(pixels: Pixels, box: Target['box']): Promise<Pixels> {
  const { width, height } = pixels.info;
  if (width <= box.width && height <= box.height) return pixels;
  return sharp(pixels.data, { raw: pixels.info }).resize(within(box)).raw().toBuffer({ resolveWithObject: true });
}

export function within({ width, height }: Target['box']): ResizeOptions {
  return { width, height, fit: 'inside', withoutEnlargement: true };
}
