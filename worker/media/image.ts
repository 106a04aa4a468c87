import { stat } from 'node:fs/promises';
import type { Metadata, ResizeOptions, SharpOptions, WebpOptions } from 'sharp';
import { messageOf, PermanentError, RetryableError } from '../base/errors.ts';
import { estimateMemory, maxSide, type Header } from './estimate.ts';
import type { MemoryGate } from './memory.ts';
import { sharp } from './sharp.ts';
import { sniffImage, type Format } from './sniff.ts';
import { checkStructure } from './structure.ts';

export type VariantSize = { name: string; width: number };

export type Source = {
  format: Format;
  /** Pixels, as the picture is to be seen: after orientation. */
  width: number;
  height: number;
  bytes: number;
  /** Frames of an animation; 1 for a still, and for an animated PNG, which is read as the still it also is. */
  pages: number;
  has_alpha: boolean;
};

export type Variant = {
  name: string;
  width: number;
  height: number;
  bytes: number;
  data: Buffer;
  content_type: 'image/webp';
};

/** sharp's own limit, 16383 squared. Whether a smaller one fits is a question of memory. */
const maxPixels = 268_402_689;

/** The slowest legal picture takes seconds; what takes longer is stuck, or the machine is. */
const timeoutSeconds = 120;

/**
 * Makes WebP variants of one picture file, each at most `width` across, never larger than the original: upright, sRGB,
 * alpha kept, metadata (GPS!) gone. The file is decoded once, and each variant made from the pixels of the one
 * before, so `sizes` go from wide to narrow. Of an animation, the first frame. A side beyond 16383 pixels is
 * more than WebP can hold, so a picture that tall becomes narrower than asked for.
 *
 * sharp cannot be stopped in the middle: an abort takes effect at the next step.
 * @throws PermanentError `empty_file`, `not_an_image`, `unsupported_image_format`, `image_too_large`, `image_corrupt`;
 *   RetryableError `image_timeout`; the signal's reason
 */
export async function makeVariants(
  path: string,
  sizes: readonly [VariantSize, ...VariantSize[]],
  { signal, memory }: { signal: AbortSignal; memory: MemoryGate },
): Promise<{ source: Source; variants: Variant[] }> {
  const format = await sniffImage(path);
  await checkStructure(path, format);
  const meta = await readHeader(path, format);
  const header = headerOf(meta, format);
  const need = admissible(header, sizes[0].width, memory.bytes);

  const variants = await memory.run(need, signal, async () => {
    const made: Variant[] = [];
    signal.throwIfAborted();
    let pixels = await decode(path, meta, format, sizes[0].width);
    for (const { name, width } of sizes) {
      signal.throwIfAborted();
      pixels = await shrink(pixels, width);
      made.push(await encode(pixels, name));
    }
    return made;
  });
  return { source: await sourceOf(path, meta, header), variants };
}

const options = {
  autoOrient: true,
  // Less than 'warning', which refuses pictures that every browser shows; more than 'none', which leaves grey what is missing.
  failOn: 'error',
  limitInputPixels: maxPixels,
  limitInputChannels: 5,
  sequentialRead: true,
  pages: 1,
} satisfies SharpOptions;

async function readHeader(path: string, format: Format): Promise<Metadata> {
  try {
    return await sharp(path, { ...options, limitInputPixels: false }).metadata();
  } catch (error) {
    throw judge(error, format);
  }
}

function headerOf(meta: Metadata, format: Format): Header {
  return {
    format,
    width: meta.autoOrient.width,
    height: meta.autoOrient.height,
    turned: (meta.orientation ?? 1) >= 5,
    channels: meta.channels,
    has_alpha: meta.hasAlpha,
    deep: isDeep(meta),
    interlaced: meta.isProgressive,
  };
}

const isDeep = (meta: Metadata) => meta.depth !== 'uchar';

/** The bytes of memory to ask for. @throws PermanentError `image_too_large` when there can never be enough */
function admissible(header: Header, width: number, budget: number): number {
  const picture = `the ${label[header.format]} has ${header.width} x ${header.height} pixels`;
  if (header.width * header.height > maxPixels)
    throw new PermanentError('image_too_large', `${picture}, and ${maxPixels} in all is the most that is read`);
  const need = estimateMemory(header, width);
  if (need > budget) {
    const megabytes = `needs about ${Math.ceil(need / 1e6)} MB to decode and shrink`;
    throw new PermanentError(
      'image_too_large',
      `${picture} and ${megabytes}: MEDIA_MEMORY_MB is ${Math.floor(budget / 1e6)}`,
    );
  }
  return need;
}

type Pixels = { data: Buffer; info: { width: number; height: number; channels: 1 | 2 | 3 | 4 } };

/** The whole picture, upright and in 8-bit sRGB, no wider than `width`. The only time that the file is decoded. */
async function decode(path: string, meta: Metadata, format: Format, width: number): Promise<Pixels> {
  const picture = sharp(path, options).resize(within(width)).toColourspace('srgb').timeout({ seconds: timeoutSeconds });
  // sharp takes a deep picture with a profile to P3 to work on, and does not come back from there by itself.
  if (isDeep(meta) && meta.space === 'rgb16' && meta.hasProfile) picture.withIccProfile('srgb', { attach: false });
  try {
    return await picture.raw().toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw judge(error, format);
  }
}

async function shrink(pixels: Pixels, width: number): Promise<Pixels> {
  if (pixels.info.width <= width) return pixels;
  return sharp(pixels.data, { raw: pixels.info }).resize(within(width)).raw().toBuffer({ resolveWithObject: true });
}

function within(width: number): ResizeOptions {
  return { width, height: maxSide, fit: 'inside', withoutEnlargement: true };
}

/**
 * Effort 2 of 6. CPU time and size of a 1600 x 1067 picture at quality 80, one thread:
 * 0: 41 ms, 258 kB; 1: 41, 257; 2: 69, 253; 3: 147, 238; 4 (sharp's default): 147, 239; 5: 172, 227; 6: 350, 220.
 * Twice the time for 6 % fewer bytes is a bad bargain where one machine decodes, encodes and uploads.
 */
const webp: WebpOptions = { quality: 80, effort: 2 };

async function encode({ data, info }: Pixels, name: string): Promise<Variant> {
  const { width, height, channels } = info;
  const file = await sharp(data, { raw: { width, height, channels } }).webp(webp).toBuffer();
  return { name, width, height, bytes: file.length, data: file, content_type: 'image/webp' };
}

async function sourceOf(path: string, meta: Metadata, { format, width, height, has_alpha }: Header): Promise<Source> {
  const { size } = await stat(path);
  return { format, width, height, bytes: size, pages: meta.pages ?? 1, has_alpha };
}

const label = { jpeg: 'JPEG', png: 'PNG', webp: 'WebP', gif: 'GIF', avif: 'AVIF' } satisfies Record<Format, string>;

// Of all that libvips says when it fails, these are about the machine and may pass; the rest is about the picture.
const notThePicture = /out of memory|bad_alloc|unable to open|too many open files|input file is missing/i;

function judge(error: unknown, format: Format): unknown {
  const message = messageOf(error);
  if (message.startsWith('timeout'))
    return new RetryableError('image_timeout', `the ${label[format]} took more than ${timeoutSeconds} s to decode`);
  if (notThePicture.test(message)) return error;
  return new PermanentError('image_corrupt', `the ${label[format]} is damaged or cut off: ${reason(message)}`, {
    cause: error,
  });
}

/** The decoder's own words, without the notes on how it got there: those name the file, which is a temporary one of ours. */
function reason(message: string): string {
  const lines = message.split('\n').filter((line) => !line.includes('bad seek'));
  const telling = lines
    .map((line) => line.replace(/^(Input file has corrupt header:|\/\S*:)/, '').trim())
    .filter(Boolean);
  return telling[0]?.slice(0, 200) ?? 'it has no readable header';
}
