import { rm } from 'node:fs/promises';
import { PermanentError } from '../../base/errors.ts';
import { estimateMemory, ffmpegAvifMemory, type Target } from './estimate.ts';
import type { Ffmpeg } from '../ffmpeg/ffmpeg.ts';
import type { MemoryGate } from '../memory.ts';
import { sharp } from './sharp.ts';
import { label } from './sniff.ts';
import { maxPixels, tooManyPixels } from './structure/limits.ts';
import { decode, decodeAvif, decodeHeic, within, type Pixels } from './decode.ts';
import { isPlain } from './heif/avif.ts';
import { openPicture, type Picture, type Source } from './open.ts';
import type { Truncated } from './whole.ts';

/** `ffmpeg`: decodes large AVIF in less memory, where there is one. */
export type Means = { signal: AbortSignal; memory: MemoryGate; truncated?: Truncated; ffmpeg?: Ffmpeg };

/**
 * Decodes a picture file once, no larger than `target` wants, and lets `work` make what it likes of the pixels while the memory
 * for all of it is held. sharp cannot be stopped in the middle: an abort takes effect at the next step.
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
    if (picture.mended) await rm(picture.mended.path, { force: true });
  }
}

/** The bytes of memory to ask for, and what to do then. @throws PermanentError `image_too_large` when there can never be enough */
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
    `the ${label[format]} has ${width} x ${height} pixels and needs about ${need} MB to decode and shrink: ` +
      `MEDIA_MEMORY_MB is ${have}, and would have to be ${need} or more`,
  );
}

/** Where there is no ffmpeg, there is none that decodes AV1. */
const decodesAv1 = (ffmpeg: Ffmpeg): Promise<boolean> =>
  ffmpeg.capabilities().then(
    ({ dav1d }) => dav1d,
    () => false,
  );

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
