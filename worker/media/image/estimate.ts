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
 * How many bytes the process grows by while this picture becomes what is wanted of it: never too few, and at most 30 %
 * or 8 MB too many. Measured in fresh processes, with sharp 0.35.5 on one thread and glibc told to give memory back
 * (worker/cli/rowmill.js says how). `node test/bench/phones.ts` prints all of it anew; this is of publish.file, WebP of 1600
 * pixels across.
 *
 * | picture                                  | estimate MB    | measured MB    |
 * |------------------------------------------|----------------|----------------|
 * | 12 / 24 / 48 MP JPEG                     | 29 / 26 / 28   | 25 / 21 / 21   |
 * | the same of noise                        | 36 / 34 / 51   | 32 / 29 / 44   |
 * | the same, turned by EXIF                 | 42 / 60 / 57   | 38 / 54 / 46   |
 * | 12 / 24 / 48 MP JPEG, progressive, 4:2:0 | 67 / 101 / 178 | 61 / 94 / 164  |
 * | 12 / 24 MP JPEG, progressive, 4:4:4      | 106 / 180      | 97 / 165       |
 * | 12 / 24 / 48 MP JPEG, CMYK               | 48 / 52 / 70   | 43 / 46 / 62   |
 * | 12 / 24 / 48 MP HEIC in tiles, 8 bits    | 76 / 82 / 77   | 62 / 76 / 67   |
 * | 12 / 24 / 48 MP HEIC in tiles, 10 bits   | 84 / 89 / 94   | 79 / 77 / 86   |
 * | 12 MP HEIC, 8 bits, 4:2:0 / 4:4:4        | 155 / 197      | 123 / 159      |
 * | 12 MP HEIC, 10 bits, 4:2:0 / 4:2:2       | 242 / 270      | 202 / 233      |
 * | 12 MP AVIF, 8 / 10 bits                  | 207 / 246      | 194 / 238      |
 * | 12 / 24 / 48 MP AVIF in tiles, 8 bits    | 75 / 136 / 255 | 60 / 123 / 235 |
 * | 24 MP AVIF by ffmpeg, 8 / 10 bits        | 152 / 215      | 138 / 206      |
 * | 48 MP AVIF by ffmpeg, 8 bits             | 214            | 197            |
 * | 12 / 24 MP WebP, lossless                | 83 / 152       | 74 / 138       |
 * | 12 / 24 / 48 MP PNG                      | 27 / 38 / 60   | 22 / 34 / 56   |
 * | 12 MP PNG, see-through, of noise         | 87             | 78             |
 * | the same with alpha as in photographs    | 87             | 40             |
 * | 12 / 24 / 48 MP TIFF                     | 27 / 38 / 60   | 25 / 32 / 53   |
 *
 * What is more than 30 % above must also do for a picture with the same header that takes more: alpha that is noise,
 * an animation of noise. A TIFF in tiles is estimated as one in strips.
 */
export function estimateMemory(picture: Header, { box, formats, animated = false }: Target): number {
  const pixels = picture.width * picture.height;
  const scale = Math.min(1, box.width / picture.width, box.height / picture.height);
  const outPixels = pixels * scale * scale;
  const out = outPixels * (picture.has_alpha ? 4 : 3);
  // HEIC and AVIF: their libraries are not warm before the first of them, and their memory is not all given back.
  const base = { heic: 22e6, avif: 12e6 }[picture.format as string] ?? 5e6;
  const shrinking = base + held(picture, pixels, out) + rows(picture, scale) + out * shrunkCopies(picture);
  // Ours, in 16 bits if it is deep, beside what it is converted to.
  const converted = picture.recoded ? out * (picture.deep ? 2 : 1) : 0;
  const encoding = base + converted + encoders(picture, outPixels, outputs(formats, picture));
  const animation = animated && staysAnimated(picture) ? base + moving(picture, pixels, outPixels) : 0;
  return Math.ceil(Math.max(decoderAlone(picture, scale), shrinking, encoding, animation));
}

/** The same of an AVIF that ffmpeg decodes, and what it becomes is read as a PNG of the size wanted. */
export function ffmpegAvifMemory(picture: Header, { box, formats }: Target): number {
  const { width, height, samples = 3, deep } = picture;
  const ffmpeg = 90e6 + width * height * samples * (deep ? 2 : 1) * 1.7;
  const scale = Math.min(1, box.width / width, box.height / height);
  const small = { ...picture, format: 'png' as const, width: width * scale, height: height * scale };
  return Math.max(ffmpeg, estimateMemory(small, { box, formats }));
}

/**
 * Of an animation: frames that are compared, and each as it was encoded. Alpha that is hard to compress makes a large
 * file of frames.
 */
const moving = ({ format, has_alpha, bytes, pages }: Header, pixels: number, outPixels: number) =>
  pages * outPixels * 3.7 + pixels * 60 + (format === 'webp' && has_alpha ? bytes * 4.5 : 0);

const outputs = (formats: Target['formats'], picture: Header) =>
  typeof formats === 'function' ? formats(picture) : formats;

/** For a pixel, opaque or see-through. */
type Bytes = Record<OutputFormat, [opaque: number, seeThrough: number]>;

/**
 * The most that an encoder takes, with the pixel itself. How hard a picture is to compress its header does not tell, so
 * these are of random pixels. A photograph takes 9.2, 7.6, 7.6 and 24; in WebP one whose alpha is the same everywhere
 * takes 18, and one whose edges are soft 27.
 */
// libwebp compresses alpha by itself and without loss: where no pixel repeats another, 24 bytes for each.
const taken: Bytes = { jpeg: [9.3, 9.3], png: [9.6, 11.8], webp: [9.6, 42.5], avif: [26, 45] };
/** What a file of random pixels has. */
const written: Bytes = { jpeg: [0.8, 0.8], png: [3.1, 4.1], webp: [1.3, 2.4], avif: [0.5, 1] };

/** The most that the encoders take, one after the other, with the files of those before. */
function encoders({ has_alpha }: Header, pixels: number, formats: readonly OutputFormat[]): number {
  const alpha = has_alpha ? 1 : 0;
  let [most, files] = [0, 0];
  for (const format of formats) {
    // libaom itself, too.
    most = Math.max(most, files + pixels * taken[format][alpha] + (format === 'avif' ? 4e6 : 0));
    files += pixels * written[format][alpha];
  }
  return most;
}

/** What is decoded before libvips gets any of it. */
function decoderAlone(picture: Header, scale: number): number {
  const { format, width, height, bytes } = picture;
  if (format === 'heic') return heicThread(picture, scale);
  if (format === 'avif') return avifDecoder(picture);
  return format === 'gif' ? 12e6 + bytes + width * height * 6.6 : 0;
}

/**
 * Node's thread, WebAssembly's memory (the file, what is decoded in one go, copies of what is held), and pieces of the
 * PNG that are garbage.
 */
function heicThread(picture: Header, scale: number): number {
  const { width, height, has_alpha, channels, deep, bytes, samples = 3, unitPixels = 0, heldPixels = 0 } = picture;
  const sampleBytes = deep ? 2 : 1;
  const planes = (samples + (has_alpha ? 1 : 0)) * sampleBytes;
  const whole = unitPixels === heldPixels;
  const decoding = unitPixels * ((whole ? 2.1 : 1.1) * planes + (deep ? 7.4 : 4.05));
  const shrink = heicShrink(scale, has_alpha);
  const png = (width * height * channels * sampleBytes) / shrink ** 2;
  const garbage = Math.min(shrink === 1 ? 6.5e6 + 0.13 * png : 0.2 * png, 14.5e6);
  return 27e6 + 1.1 * (27.5e6 + bytes + decoding + (whole ? 0 : heldPixels * planes) + garbage);
}

/**
 * libaom takes 13 bytes a pixel of what it decodes in one go, beside the samples; libheif tiles as YUV and then as RGB.
 */
function avifDecoder(picture: Header): number {
  const { width, height, bytes, deep, has_alpha, samples = 3, unitPixels = 0, heldPixels = 0 } = picture;
  const sampleBytes = deep ? 2 : 1;
  const planes = (samples + (has_alpha ? 1 : 0)) * sampleBytes;
  const decoding =
    unitPixels === heldPixels
      ? width * height * (12.8 + 2.1 * planes)
      : unitPixels * 17 + width * height * (planes + (has_alpha ? 4 : 3) * sampleBytes) * 1.05;
  return 10e6 + bytes + decoding;
}

/** Stored on its side: width and height change places on the way. */
const turned = ({ orientation }: Header) => orientation >= 5;

/**
 * What there is of the picture beside the lines from which it is shrunk. JPEG and WebP are mapped, and count as files
 * of this process, though the kernel can drop their pages.
 */
function held(picture: Header, pixels: number, out: number): number {
  const { format, bytes, channels, deep, interlaced, has_alpha } = picture;
  const { samplesPerPixel = channels, lossless = true } = picture;
  switch (format) {
    case 'jpeg': {
      // 16-bit coefficients of all channels, as they are subsampled. libjpeg takes that from the same header.
      const coefficients = interlaced ? pixels * samplesPerPixel * 2.05 : 0;
      // The tables that a profile of four inks becomes.
      return bytes + coefficients + (channels === 4 ? 6e6 : 0);
    }
    case 'png':
      return interlaced ? pixels * channels * (deep ? 2 : 1) : 0;
    case 'webp':
      // A lossless picture is decoded at full size, a lossy one at the size asked for; but for its alpha.
      return bytes + (lossless ? pixels * 4 : out * 1.7 + (has_alpha ? pixels * 2 : 0));
    case 'gif':
      return bytes + pixels * 4;
    case 'tiff':
      return channels === 4 && !has_alpha ? 8e6 : 0;
    case 'heic':
    case 'avif':
      return 0;
  }
}

/**
 * How often there is the shrunk picture, at 8 bits: while it is multiplied with its alpha, and while it is of 16 bits,
 * some more.
 */
const shrunkCopies = ({ has_alpha, deep, format, lossless }: Header): number => {
  if (format === 'webp' && lossless) return 1.8;
  if (deep) return has_alpha ? 3.3 : 3;
  return has_alpha ? 2.5 : 1.8;
};

/**
 * The lines that libvips holds to shrink from: more of them the more it shrinks, up to a point, and more while they are
 * multiplied with alpha.
 */
function rows(picture: Header, scale: number): number {
  const { format, channels, deep, has_alpha, interlaced, bandBytes = 0 } = picture;
  // These are shrunk by the decoder, or there as a whole.
  if (format === 'webp' || format === 'gif') return 0;
  if (scale === 1) return bandBytes;
  const loaded = shrunkOnLoad(picture, scale);
  const stored = turned(picture) ? [picture.height, picture.width] : [picture.width, picture.height];
  const [across, down] = stored.map((length) => length / loaded) as [number, number];
  const lines = Math.min(down, has_alpha ? 2050 : 1950, (has_alpha ? 460 : deep ? 410 : 380) / (scale * loaded));
  // Fewer where the decoder has the whole picture.
  const share = format === 'png' && interlaced ? 0.75 : 1;
  return Math.max(bandBytes, share * lines * across * channels * (deep ? 2 : 1));
}

/** By how much the decoder itself shrinks. */
function shrunkOnLoad({ format, lossless = true, has_alpha }: Header, scale: number): number {
  if (format === 'jpeg') return shrinkOnLoad(scale);
  if (format === 'heic') return heicShrink(scale, has_alpha);
  return format === 'webp' && !lossless ? 1 / scale : 1;
}

/**
 * So many pixels each way become one while a HEIC is decoded, so that libvips shrinks by 2 at least. Not with alpha:
 * see-through pixels must not colour their neighbours.
 */
export const heicShrink = (scale: number, hasAlpha: boolean): number =>
  hasAlpha ? 1 : Math.max(1, Math.floor(1 / scale / 2));

/**
 * libjpeg decodes at a half, a quarter or an eighth for next to nothing; sharp leaves the last factor of 1.x to itself.
 */
function shrinkOnLoad(scale: number): number {
  if (scale < 1 / 9) return 8;
  if (scale < 1 / 5) return 4;
  return scale < 1 / 3 ? 2 : 1;
}
