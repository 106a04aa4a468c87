import type { AvifOptions, JpegOptions, PngOptions, Sharp, WebpOptions } from 'sharp';
import { sharp } from './sharp.ts';
import { timeoutSeconds } from './judge.ts';
import { readOptions, type Picture } from './open.ts';
import { within, type Pixels } from './decode.ts';
import type { OutputFormat, Target } from './target.ts';
import { decodeWhole, type Truncated } from './whole.ts';

export type Encoded = {
  format: OutputFormat;
  width: number;
  height: number;
  bytes: number;
  data: Buffer;
  content_type: `image/${OutputFormat}`;
};

const jpeg: JpegOptions = { quality: 82 };

const png: PngOptions = { compressionLevel: 6 };

/**
 * Effort 2 of 6. CPU time and size of a 1600 x 1067 picture at quality 80, one thread: 0: 41 ms, 258 kB; 1: 41, 257; 2:
 * 69, 253; 3: 147, 238; 4 (sharp's default): 147, 239; 5: 172, 227; 6: 350, 220. Effort 4 takes twice the time for 6 %
 * fewer bytes; CPU time is what limits how many pictures a machine publishes.
 */
const webp: WebpOptions = { quality: 80, effort: 2 };

/** Effort 2 of 9: sharp's default of 4 takes eight times as long for a tenth fewer bytes. */
const avif: AvifOptions = { quality: 50, effort: 2, chromaSubsampling: '4:2:0' };

const encoders: Record<OutputFormat, (picture: Sharp) => Sharp> = {
  jpeg: (picture) => picture.jpeg(jpeg),
  png: (picture) => picture.png(png),
  webp: (picture) => picture.webp(webp),
  avif: (picture) => picture.avif(avif),
};

/** A file with only these pixels: no EXIF, no profile, no location. */
export async function encode({ data, info }: Pixels, format: OutputFormat): Promise<Encoded> {
  const { width, height, channels } = info;
  const file = await encoders[format](sharp(data, { raw: { width, height, channels } })).toBuffer();
  return { format, width, height, bytes: file.length, data: file, content_type: `image/${format}` };
}

/** A whole animation as an animated WebP with the same delays and loop count. It is converted frame by frame. */
export async function encodeAnimation(
  picture: Picture,
  box: Target['box'],
  truncated: Truncated = 'refuse',
): Promise<Encoded> {
  const { path, page, corrected } = picture;
  const { made } = await decodeWhole(picture, { truncated, frames: Infinity }, (failOn) =>
    sharp(path, { ...readOptions, failOn, page, pages: -1 })
      .resize(within(box))
      .timeout({ seconds: timeoutSeconds })
      .webp(corrected ? { ...webp, delay: corrected.delays } : webp)
      .toBuffer({ resolveWithObject: true }),
  );
  const { width, height, pageHeight = height } = made.info;
  const { data } = made;
  return { format: 'webp', width, height: pageHeight, bytes: data.length, data, content_type: 'image/webp' };
}
