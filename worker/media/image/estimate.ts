import type { OutputFormat } from './encode.ts';
import type { Header, Source } from './open.ts';

/** What is to be made of it. */
export type Target = {
  /** No larger than this, and never larger than it is. */
  box: { width: number; height: number };
  formats: readonly OutputFormat[] | ((picture: Source) => readonly OutputFormat[]);
  /** An animation stays one, if it is not too long. */
  animated?: boolean;
};

/** Of all frames together: some four seconds of CPU time. */
const maxAnimationPixels = 40e6;

/** Whether it moves, and may go on moving. */
export const staysAnimated = ({ format, pages, width, height, orientation }: Source): boolean =>
  ['gif', 'webp'].includes(format) && pages > 1 && orientation === 1 && pages * width * height <= maxAnimationPixels;

/** WebP's own limit, for both sides. https://developers.google.com/speed/webp/faq */
export const maxSide = 16_383;

/**
 * How many bytes the process grows by while this picture becomes what is wanted of it. The table is of WebP, 1600 pixels across at most.
 * Measured in fresh processes, with sharp 0.35.5 on one thread and glibc told to give memory back
 * (bin/rowmill.js says how). Rather too much than too little:
 * the test measures it again.
 *
 * | picture                                    | estimate MB | measured MB |
 * |--------------------------------------------|-------------|-------------|
 * | 12 / 24 / 48 MP JPEG, any subsampling      | 34 / 28 / 28 | 26 / 26 / 24 |
 * | 12 MP JPEG, CMYK / TIFF, CMYK              | 48 / 48     | 44 / 36     |
 * | 12 MP TIFF, 16 bits                        | 48          | 37          |
 * | 12 / 24 MP JPEG, turned by EXIF            | 43 / 52     | 31 / 42     |
 * | 12 / 24 / 48 MP JPEG, progressive, 4:2:0   | 67 / 101 / 180 | 59 / 92 / 163 |
 * | 12 / 24 / 48 MP JPEG, progressive, 4:4:4   | 107 / 179 / 338 | 99 / 166 / 315 |
 * | 12 / 24 MP JPEG, progressive, 4:2:2        | 80 / 127    | as 4:2:0 and 4:4:4: 16-bit coefficients |
 * | 12 / 24 / 48 MP PNG                        | 34 / 42 / 57 | 21 / 34 / 52 |
 * | 12 MP PNG, RGBA / 16 bits, Display P3      | 55 / 47     | 34 / 43     |
 * | 12 MP WebP, lossy / lossless               | 30 / 82     | 23 / 74     |
 * | 12 / 48 MP TIFF, in strips                 | 34 / 58     | 25 / 57     |
 * | 12 MP AVIF, 8 bits, 4:2:0 / 4:4:4      | 209 / 251   | 190 / 229   |
 * | 12 MP AVIF, 10 bits, 4:2:0 / 4:4:4     | 251 / 336   | 235 / 308   |
 * | 24 MP AVIF in tiles, 10 bits           | 277         | 237         |
 * | 48 MP AVIF in tiles, 8 bits            | 277         | 230         |
 * | 24 MP AVIF by ffmpeg, 8 / 10 bits      | 152 / 215   | 138 / 206   |
 * | 48 MP AVIF by ffmpeg, 8 bits           | 214         | 197         |
 * | 12 MP HEIC, 8 bits, 4:2:0 / 4:4:4      | 155 / 197   | 123 / 159   |
 * | 12 MP HEIC, 10 bits, 4:2:0 / 4:2:2     | 242 / 270   | 202 / 233   |
 * | 12 MP HEIC in tiles, 8 / 10 bits       | 63 / 68     | 58 / 66     |
 * | 24 MP HEIC, 8 bits                     | 252         | 212         |
 *
 * And of media.image, where the main picture has 2048 x 2048 pixels at most:
 *
 * | 12 / 24 / 48 MP JPEG                   | 40 / 45 / 40 | 29 / 42 / 30 |
 * | 12 / 24 / 48 MP PNG                    | 34 / 40 / 53 | 26 / 36 / 45 |
 * | 4 MP PNG, RGBA, with a copy in AVIF    | 215          | 169          |
 * | 80 frames of 800 x 600, GIF / WebP     | 200          | 127 / 152    |
 */
export function estimateMemory(picture: Header, { box, formats, animated = false }: Target): number {
  const pixels = picture.width * picture.height;
  const scale = Math.min(1, box.width / picture.width, box.height / picture.height);
  const outPixels = pixels * scale * scale;
  const out = outPixels * (picture.has_alpha ? 4 : 3);

  const rowsHeld = rows(picture, scale);
  const alpha = picture.has_alpha ? out * 2 : 0;
  const aside = turned(picture) ? out / 2 : 0;
  const isHeif = ['heic', 'avif'].includes(picture.format);
  // Pixels beside those that they are converted to: by us, or in 16 bits by a profile.
  const converted = picture.recoded ? out * (picture.deep ? 2 : 1) : picture.deep && !isHeif ? out : 0;
  // What a HEIC file becomes first is read as a PNG.
  const decoding = Math.max(
    picture.format === 'heic' ? heicThread(picture) : 0,
    wholePicture(picture, pixels, out) + rowsHeld + out * (scale < 1 ? 1.5 : 1) + alpha + aside + converted,
  );
  // What decoding took is not all given back by then.
  const encoding =
    rowsHeld + converted + kept(picture, out) + outPixels * encoderBytes(picture, scale, outputs(formats, picture));
  const animation = animated && staysAnimated(picture) ? picture.pages * outPixels * 3.5 + pixels * 40 : 0;
  const [base, margin] = isHeif ? [27e6, 1.1] : [11e6, 1];
  // The tables that a profile of four inks becomes.
  const inks = picture.channels >= 4 && !picture.has_alpha ? 12e6 : 0;
  return Math.ceil(base + inks + margin * Math.max(decoding, encoding, animation));
}

/** The same of an AVIF that ffmpeg decodes, and what it becomes is read as a PNG of the size wanted. */
export function ffmpegAvifMemory(picture: Header, { box, formats }: Target): number {
  const { width, height, samples = 3, deep } = picture;
  const ffmpeg = 90e6 + width * height * samples * (deep ? 2 : 1) * 1.7;
  const scale = Math.min(1, box.width / width, box.height / height);
  const small = { ...picture, format: 'png' as const, width: width * scale, height: height * scale };
  return Math.max(ffmpeg, estimateMemory(small, { box, formats }));
}

const outputs = (formats: Target['formats'], picture: Header) =>
  typeof formats === 'function' ? formats(picture) : formats;

/** The most that an encoder takes for a pixel, with the pixel itself and the file that it makes of it. */
function encoderBytes({ has_alpha }: Header, scale: number, formats: readonly OutputFormat[]): number {
  const bytes: Record<OutputFormat, number> = {
    // Of a picture that was not shrunk, noise may be left, and the file be as large as that.
    jpeg: scale < 1 ? 7.2 : 8.3,
    png: scale < 1 ? 5.5 : 6,
    // libwebp holds the picture as RGB(A), as YUV, and its alpha once more to compress it by itself.
    webp: has_alpha ? 17.5 : 7.6,
    avif: has_alpha ? 49 : 30,
  };
  return Math.max(...formats.map((format) => bytes[format]));
}

/** The decoder itself, and WebAssembly's memory: the file, what is decoded in one go, and copies of what is held. */
function heicThread({ has_alpha, deep, bytes, samples = 3, unitPixels = 0, heldPixels = 0 }: Header): number {
  const planes = (samples + (has_alpha ? 1 : 0)) * (deep ? 2 : 1);
  const whole = unitPixels === heldPixels;
  const decoding = unitPixels * ((whole ? 2.1 : 1.1) * planes + (deep ? 7.4 : 4.05));
  return 25e6 + bytes + decoding + (whole ? 0 : heldPixels * planes);
}

/** libaom takes 10 bytes a pixel of what it decodes in one go, beside the samples; libheif the whole as YUV and then as RGB. */
function avifDecoder({ deep, has_alpha, samples = 3, unitPixels = 0, heldPixels = 0 }: Header, pixels: number): number {
  const bytes = deep ? 2 : 1;
  const planes = (samples + (has_alpha ? 1 : 0)) * bytes;
  if (unitPixels === heldPixels) return pixels * (10.2 + 2.1 * planes);
  return unitPixels * 10.2 + Math.max(0, pixels * (planes + (has_alpha ? 4 : 3) * bytes) - 36e6);
}

/** Stored on its side: width and height change places on the way. */
const turned = ({ orientation }: Header) => orientation >= 5;

/** What the decoder holds of the whole picture; nothing where it can go line by line. */
function wholePicture(picture: Header, pixels: number, out: number): number {
  const { format, bytes, channels, deep, interlaced, has_alpha } = picture;
  const { samplesPerPixel = channels, lossless = true, bandBytes = 0 } = picture;
  switch (format) {
    case 'jpeg':
      // 16-bit coefficients of all channels, as they are subsampled. libjpeg takes that from the same header.
      return interlaced ? pixels * samplesPerPixel * 2.16 : 0;
    case 'png':
    case 'heic':
      return interlaced ? pixels * channels * (deep ? 2 : 1) * 1.08 : 0;
    case 'webp':
      // A lossless picture is decoded at full size, a lossy one at the size asked for; but for its alpha.
      return lossless ? pixels * 5.1 : out + (has_alpha ? pixels * 2 : 0);
    case 'gif':
      return pixels * 6 + bytes;
    case 'avif':
      return avifDecoder(picture, pixels);
    case 'tiff':
      return bandBytes * 1.1;
  }
}

/** A part of what libwebp decoded in one piece is there until all is done. */
const kept = ({ format, lossless }: Header, out: number): number => (format === 'webp' && !lossless ? out / 2 : 0);

/** The lines that libvips holds to shrink from: more of them the more it shrinks, up to a point. */
function rows(picture: Header, scale: number): number {
  const { format, interlaced, channels, deep } = picture;
  // The decoder holds the whole picture, which needs no lines beside it.
  if (scale === 1 || (format === 'png' && interlaced) || (format === 'webp' && picture.lossless)) return 0;
  const loaded = shrunkOnLoad(picture, scale);
  const stored = turned(picture) ? [picture.height, picture.width] : [picture.width, picture.height];
  const [across, down] = stored.map((length) => length / loaded) as [number, number];
  const lines = Math.min(down, 2000, 260 / (scale * loaded));
  return lines * across * channels * (deep ? 2 : 1);
}

/** By how much the decoder itself shrinks. */
function shrunkOnLoad({ format, lossless = true, has_alpha }: Header, scale: number): number {
  if (format === 'jpeg') return shrinkOnLoad(scale);
  if (format === 'heic') return heicShrink(scale, has_alpha);
  return format === 'webp' && !lossless ? 1 / scale : 1;
}

/**
 * So many pixels each way become one while a HEIC is decoded, so that libvips shrinks by 2 at least. Not with alpha: see-through pixels
 * must not colour their neighbours.
 */
export const heicShrink = (scale: number, hasAlpha: boolean): number =>
  hasAlpha ? 1 : Math.max(1, Math.floor(1 / scale / 2));

/** libjpeg decodes at a half, a quarter or an eighth for next to nothing; sharp leaves the last factor of 1.x to itself. */
function shrinkOnLoad(scale: number): number {
  if (scale < 1 / 9) return 8;
  if (scale < 1 / 5) return 4;
  return scale < 1 / 3 ? 2 : 1;
}
