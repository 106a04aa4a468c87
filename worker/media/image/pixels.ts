import { rm } from 'node:fs/promises';
import { PermanentError } from '../../base/errors.ts';
import { estimateMemory, ffmpegAvifMemory } from './estimate.ts';
import type { Ffmpeg } from '../ffmpeg/ffmpeg.ts';
import type { MemoryGate } from '../memory.ts';
import { sharp } from './sharp.ts';
import { label } from './sniff.ts';
import { maxPixels, tooManyPixels } from './structure/limits.ts';
import { decode, decodeAvif, decodeHeic, within, type Pixels } from './decode.ts';
import { isPlain } from './heif/avif.ts';
import { openPicture, type Picture, type Source } from './open.ts';
import type { Target } from './target.ts';
import type { Truncated } from './whole.ts';

/** `ffmpeg`, where there is one, decodes large AVIF in less memory. */
export type Means = { signal: AbortSignal; memory: MemoryGate; truncated?: Truncated; ffmpeg?: Ffmpeg };

/**
 * Decodes a picture file once, no larger than `target` needs, and calls `work` with the pixels. The memory for all of
 * it is reserved meanwhile. sharp cannot be interrupted: an abort takes effect at the next step.
 * @throws PermanentError as openPicture does, and `image_too_large` before anything is decoded; RetryableError
 *   `image_timeout`; the signal's reason
 */
export async function withPixels<T>(
  path: string,
  target: Target,
  means: Means,
  work: (pixels: Pixels, picture: Picture) => Promise<T>,
): Promise<{ source: Source; made: T }> {
  const { signal, memory } = means;
  const picture = await openPicture(path);
  try {
    const { bytes, decoding } = await plan(picture, target, means);
    return await memory.run(bytes, signal, async () => {
      signal.throwIfAborted();
      const decoded = await decoding();
      signal.throwIfAborted();
      const made = await work(decoded.made, picture);
      release(decoded.made);
      const source: Source = decoded.truncated ? { ...picture.source, truncated: true } : picture.source;
      return { source, made };
    });
  } finally {
    if (picture.corrected) await rm(picture.corrected.path, { force: true });
  }
}

/** How many bytes to reserve, and the decoder to use. @throws PermanentError `image_too_large` when it can never fit */
async function plan(picture: Picture, target: Target, { memory, signal, truncated = 'refuse', ffmpeg }: Means) {
  const { source, layout, structure, heif } = picture;
  const { format, width, height } = source;
  const options = { box: target.box, signal, truncated };
  if (width * height > maxPixels) throw tooManyPixels(label[format], width, height);
  const header = { ...source, ...layout, ...structure };
  const bytes = estimateMemory(header, target);
  const decoding = () => (format === 'heic' ? decodeHeic(picture, bytes, options) : decode(picture, options));
  if (!(bytes > memory.pictureBytes)) return { bytes, decoding };
  const dav1d = heif && isPlain(heif) && ffmpeg && (await decodesAv1(ffmpeg)) ? ffmpeg : undefined;
  const least = dav1d ? Math.min(bytes, ffmpegAvifMemory(header, target)) : bytes;
  if (dav1d && least <= memory.pictureBytes)
    return { bytes: least, decoding: () => decodeAvif(picture, dav1d, options) };
  const [need, have] = [Math.ceil(least / 1e6), Math.floor(memory.pictureBytes / 1e6)];
  throw new PermanentError(
    'image_too_large',
    `The ${label[format]} has ${width} x ${height} pixels and needs about ${need} MB to decode and shrink: ` +
      `MEDIA_MEMORY_MB is ${have}, and would have to be ${need} or more`,
  );
}

/** False also where there is no ffmpeg. */
const decodesAv1 = (ffmpeg: Ffmpeg): Promise<boolean> =>
  ffmpeg.capabilities().then(
    ({ dav1d }) => dav1d,
    () => false,
  );

/**
 * Frees the memory now: the garbage collector would do it tens of megabytes later, as it sees only a small heap. Not
 * after an error, when libvips may still be reading the pixels.
 */
function release({ data }: Pixels): void {
  if (data.buffer instanceof ArrayBuffer && data.byteLength === data.buffer.byteLength) data.buffer.transfer(0);
}

/** Shrinks the pixels into the box; returns the same object if they fit. */
export async function shrink(pixels: Pixels, box: Target['box']): Promise<Pixels> {
  const { width, height } = pixels.info;
  if (width <= box.width && height <= box.height) return pixels;
  return sharp(pixels.data, { raw: pixels.info }).resize(within(box)).raw().toBuffer({ resolveWithObject: true });
}
