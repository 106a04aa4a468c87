import { rgbaToThumbHash } from 'thumbhash';
import { sharp } from './sharp.ts';
import type { Format } from './sniff.ts';
import { encode, encodeAnimation, type Encoded } from './encode.ts';
import type { Source } from './open.ts';
import type { Pixels } from './decode.ts';
import { shrink, withPixels, type Means } from './pixels.ts';
import { staysAnimated, type OutputFormat } from './target.ts';

export type Optimised = {
  source: Source;
  /** The picture to show. */
  main: Encoded;
  /** The middle of the picture, square. */
  thumbnail: Encoded;
  /** The main picture in other formats. */
  copies: Encoded[];
  /** About 25 bytes, base64, from which a client draws a blurred placeholder. https://evanw.github.io/thumbhash/ */
  thumbhash: string;
};

export type CopyFormat = 'webp' | 'avif';

const box = { width: 2048, height: 2048 };
const thumbnailSide = 200;
/** ThumbHash's own limit. */
const hashSide = 100;

/**
 * Makes from one picture file what a message shows: the picture at 2048 x 2048 at most, a thumbnail of 200 x 200, and
 * copies in other `formats`. Never enlarged; upright, in sRGB, without metadata (GPS position!). The file is decoded
 * once. An animation of up to 40 megapixels in all frames stays animated; of a longer one, and always for the thumbnail
 * and the copies, the first frame is used.
 *
 * A JPEG stays a JPEG, a PNG a PNG, a WebP a WebP. HEIC and TIFF, which few programs show, become JPEG. GIF and AVIF
 * become WebP: both may have transparency; GIF files are larger, and AVIF takes ten times as long to write.
 * Transparency is kept.
 * @throws what withPixels does
 */
export async function optimise(
  path: string,
  { formats }: { formats: readonly CopyFormat[] },
  means: Means,
): Promise<Optimised> {
  // The thumbnail is not in the estimate: it takes less than the picture does.
  const target = { box, formats: (source: Source) => [mainFormat(source), ...formats], animated: true };
  const { source, made } = await withPixels(path, target, means, async (pixels, original) => {
    const format = mainFormat(original.source);
    const animated = staysAnimated(original.source);
    const main = animated ? await encodeAnimation(original, box, means.truncated) : await encode(pixels, format);
    const copies: Encoded[] = [];
    for (const other of new Set(formats)) {
      means.signal.throwIfAborted();
      if (other !== format) copies.push(await encode(pixels, other));
    }
    const thumbnail = await encode(await crop(pixels), 'webp');
    return { main, thumbnail, copies, thumbhash: await hashOf(pixels) };
  });
  return { source, ...made };
}

const families = {
  jpeg: 'jpeg',
  png: 'png',
  webp: 'webp',
  gif: 'webp',
  avif: 'webp',
  heic: 'jpeg',
  tiff: 'jpeg',
} satisfies Record<Format, OutputFormat>;

function mainFormat({ format, has_alpha }: Source): OutputFormat {
  const family = families[format];
  return family === 'jpeg' && has_alpha ? 'webp' : family;
}

/** The middle of the picture, square; all of it where it is smaller than a thumbnail. */
async function crop({ data, info }: Pixels): Promise<Pixels> {
  const width = Math.min(thumbnailSide, info.width);
  const height = Math.min(thumbnailSide, info.height);
  return sharp(data, { raw: info }).resize({ width, height, fit: 'cover' }).raw().toBuffer({ resolveWithObject: true });
}

async function hashOf(pixels: Pixels): Promise<string> {
  const small = await shrink(pixels, { width: hashSide, height: hashSide });
  const { data, info } = await sharp(small.data, { raw: small.info })
    .toColourspace('srgb')
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return Buffer.from(rgbaToThumbHash(info.width, info.height, data)).toString('base64');
}
