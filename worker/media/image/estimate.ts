import type { Header } from './open.ts';
import { staysAnimated, type OutputFormat, type Target } from './target.ts';

/**
 * How many bytes the process grows by while this picture becomes what is wanted of it: never too few, and at most 30 %
 * or 8 MB too many. Measured in fresh processes, with sharp 0.35.5 on one thread and glibc told to give memory back
 * (worker/cli/rowmill.js says how). `node test/bench/phones.ts` prints all of it anew; this is of publish.file, WebP of
 * 1600 pixels across.
 *
 * | picture                                  | estimate MB    | measured MB    |
 * |------------------------------------------|----------------|----------------|
 * | 12 / 24 / 48 MP JPEG                     | 32 / 28 / 30   | 26 / 21 / 22   |
 * | the same of noise                        | 39 / 36 / 53   | 31 / 29 / 43   |
 * | the same, turned by EXIF                 | 44 / 62 / 59   | 38 / 54 / 46   |
 * | 12 / 24 / 48 MP JPEG, progressive, 4:2:0 | 69 / 103 / 180 | 59 / 91 / 169  |
 * | 12 / 24 MP JPEG, progressive, 4:4:4      | 108 / 182      | 97 / 169       |
 * | 12 / 24 / 48 MP JPEG, CMYK               | 49 / 52 / 70   | 43 / 46 / 65   |
 * | 12 / 24 / 48 MP HEIC in tiles, 8 bits    | 81 / 88 / 83   | 65 / 83 / 82   |
 * | 12 / 24 / 48 MP HEIC in tiles, 10 bits   | 87 / 91 / 96   | 82 / 81 / 88   |
 * | 12 MP HEIC, 8 bits, 4:2:0 / 4:4:4        | 155 / 197      | 123 / 159      |
 * | 12 MP HEIC, 10 bits, 4:2:0 / 4:2:2       | 242 / 270      | 202 / 233      |
 * | 12 MP AVIF, 8 / 10 bits                  | 207 / 246      | 194 / 238      |
 * | 12 / 24 / 48 MP AVIF in tiles, 8 bits    | 75 / 136 / 255 | 60 / 123 / 235 |
 * | 24 MP AVIF by ffmpeg, 8 / 10 bits        | 154 / 216      | 138 / 206      |
 * | 48 MP AVIF by ffmpeg, 8 bits             | 214            | 197            |
 * | 12 / 24 MP WebP, lossless                | 83 / 152       | 74 / 138       |
 * | 12 / 24 / 48 MP PNG                      | 27 / 39 / 62   | 24 / 35 / 57   |
 * | 12 MP PNG, see-through, of noise         | 87             | 78             |
 * | the same with alpha as in photographs    | 87             | 40             |
 * | 12 / 24 / 48 MP TIFF                     | 29 / 41 / 64   | 26 / 35 / 55   |
 *
 * What is more than 30 % above must also do for a picture with the same header that takes more: alpha that is noise,
 * an animation of noise. A TIFF in tiles is estimated as one in strips.
 */
export function estimateMemory(picture: Header, { box, formats, animated = false }: Target): number {
  const pixels = picture.width * picture.height;
  const scale = Math.min(1, box.width / picture.width, box.height / picture.height);
  const outPixels = pixels * scale * scale;
  const out = outPixels * (picture.has_alpha ? 4 : 3);
  // The libraries of HEIC and AVIF take memory at their first picture and do not give all of it back. Some
  // processes take more than others: once a JPEG of 49 megapixels took 24.9 MB instead of 20, and a TIFF of 12
  // megapixels 28.4 instead of 26.
  const base = { heic: 22e6, avif: 12e6, jpeg: 7e6, tiff: 7e6 }[picture.format as string] ?? 5e6;
  const shrinking = base + held(picture, pixels, out) + rows(picture, scale) + out * shrunkCopies(picture);
  // Our own converted copy, or two bytes a sample if the picture is deep, beside the buffer that it is converted from.
  const converted = picture.recoded ? out * (picture.deep ? 2 : 1) : 0;
  const encoding = base + converted + encoders(picture, outPixels, outputs(formats, picture));
  const animation = animated && staysAnimated(picture) ? base + moving(picture, pixels, outPixels) : 0;
  return Math.ceil(Math.max(decoderAlone(picture, scale), shrinking, encoding, animation));
}

/** The estimate for an AVIF that ffmpeg decodes: ffmpeg first, then a PNG of the size wanted. */
export function ffmpegAvifMemory(picture: Header, { box, formats }: Target): number {
  const { width, height, samples = 3, deep } = picture;
  const scale = Math.min(1, box.width / width, box.height / height);
  const pixels = width * height;
  // The decoded frames, and the one of the size wanted.
  const ffmpeg = 78e6 + pixels * samples * (deep ? 2 : 1) * 1.7 + pixels * scale * scale * 7;
  const small = { ...picture, format: 'png' as const, width: width * scale, height: height * scale };
  return Math.max(ffmpeg, estimateMemory(small, { box, formats }));
}

/**
 * An animation: frames are compared with each other, and each is held as encoded. Alpha that compresses badly makes the
 * frames large.
 */
const moving = ({ format, has_alpha, bytes, pages }: Header, pixels: number, outPixels: number) =>
  pages * outPixels * 3.7 + pixels * 60 + (format === 'webp' && has_alpha ? bytes * 4.5 : 0);

const outputs = (formats: Target['formats'], picture: Header) =>
  typeof formats === 'function' ? formats(picture) : formats;

/** Bytes a pixel. */
type Bytes = Record<OutputFormat, [opaque: number, seeThrough: number]>;

/**
 * Peak of an encoder in bytes a pixel, with the pixel itself. The header does not tell how well a picture compresses,
 * so these are for random pixels. A photograph takes 9.2, 7.6, 7.6 and 24; a WebP with uniform alpha takes 18, and one
 * with soft edges 27.
 */
// libwebp compresses alpha separately and without loss: 24 bytes a pixel where no pixel repeats another.
const taken: Bytes = { jpeg: [9.3, 9.3], png: [9.6, 11.8], webp: [9.6, 42.5], avif: [26, 45] };
/** Size of a file of random pixels, in bytes a pixel. */
const written: Bytes = { jpeg: [0.8, 0.8], png: [3.1, 4.1], webp: [1.3, 2.4], avif: [0.5, 1] };

/** Peak of the encoders, which run one after the other, with the files made before. */
function encoders({ has_alpha }: Header, pixels: number, formats: readonly OutputFormat[]): number {
  const alpha = has_alpha ? 1 : 0;
  let [most, files] = [0, 0];
  for (const format of formats) {
    // 4 MB for libaom itself.
    most = Math.max(most, files + pixels * taken[format][alpha] + (format === 'avif' ? 4e6 : 0));
    files += pixels * written[format][alpha];
  }
  return most;
}

/** Peak of the decoders that decode a picture before libvips gets its first line. */
function decoderAlone(picture: Header, scale: number): number {
  const { format, width, height, bytes } = picture;
  if (format === 'heic') return heicThread(picture, scale);
  if (format === 'avif') return avifDecoder(picture);
  return format === 'gif' ? 12e6 + bytes + width * height * 6.6 : 0;
}

/**
 * Node's thread, WebAssembly's memory (the file, what is decoded at once, copies of what is held), and pieces of the
 * PNG that wait for garbage collection.
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
  return 27e6 + 1.1 * ((deep ? 30e6 : 33e6) + bytes + decoding + (whole ? 0 : heldPixels * planes) + garbage);
}

/**
 * libaom takes 13 bytes a pixel of what it decodes at once, besides the samples. libheif holds tiles as YUV and then as
 * RGB.
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

/** Stored on its side: EXIF orientations 5 to 8 exchange width and height. */
const turned = ({ orientation }: Header) => orientation >= 5;

/**
 * What is held of the picture itself, besides the lines that it is shrunk from. JPEG and WebP files are mapped: their
 * pages count as memory of this process, though the kernel can drop them.
 */
function held(picture: Header, pixels: number, out: number): number {
  const { format, bytes, channels, deep, interlaced, has_alpha } = picture;
  const { samplesPerPixel = channels, lossless = true } = picture;
  switch (format) {
    case 'jpeg': {
      // 16-bit coefficients of all channels, as subsampled. libjpeg allocates by the same header.
      const coefficients = interlaced ? pixels * samplesPerPixel * 2.05 : 0;
      // The conversion tables of a CMYK profile.
      return bytes + coefficients + (channels === 4 ? 4e6 : 0);
    }
    case 'png':
      return interlaced ? pixels * channels * (deep ? 2 : 1) : 0;
    case 'webp':
      // A lossless picture is decoded at full size, a lossy one at the size wanted, but its alpha at full size.
      return bytes + (lossless ? pixels * 4 : has_alpha ? pixels * 2 : out * 1.7);
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
 * Copies of the shrunk picture held at once, in bytes of an 8-bit one: more while it is multiplied with its alpha, and
 * while it has 16 bits.
 */
const shrunkCopies = ({ has_alpha, deep, format, lossless }: Header): number => {
  if (format === 'webp' && lossless) return 1.8;
  if (deep) return has_alpha ? 3.3 : 3;
  return has_alpha ? 2.5 : 1.8;
};

/**
 * The lines that libvips holds to shrink from: more for a stronger reduction, up to a limit, and more with alpha, which
 * the lines are multiplied with.
 */
function rows(picture: Header, scale: number): number {
  const { format, channels, deep, has_alpha, interlaced, bandBytes = 0 } = picture;
  // The decoder shrinks these itself, or holds them whole.
  if (format === 'webp' || format === 'gif') return 0;
  if (scale === 1) return bandBytes;
  const loaded = shrunkOnLoad(picture, scale);
  const stored = turned(picture) ? [picture.height, picture.width] : [picture.width, picture.height];
  const [across, down] = stored.map((length) => length / loaded) as [number, number];
  const lines = Math.min(down, has_alpha ? 2050 : 1950, (has_alpha ? 460 : deep ? 410 : 380) / (scale * loaded));
  // Fewer where the decoder holds the whole picture.
  const share = format === 'png' && interlaced ? 0.75 : 1;
  // libtiff takes a little beside its tiles.
  return Math.max(bandBytes * 1.04, share * lines * across * channels * (deep ? 2 : 1));
}

/** The factor by which the decoder itself shrinks. */
function shrunkOnLoad({ format, lossless = true, has_alpha }: Header, scale: number): number {
  if (format === 'jpeg') return shrinkOnLoad(scale);
  if (format === 'heic') return heicShrink(scale, has_alpha);
  return format === 'webp' && !lossless ? 1 / scale : 1;
}

/**
 * The factor by which a HEIC is shrunk while it is decoded; libvips then shrinks by at least 2. Not with alpha: the
 * colour of transparent pixels must not reach their neighbours.
 */
export const heicShrink = (scale: number, hasAlpha: boolean): number =>
  hasAlpha ? 1 : Math.max(1, Math.floor(1 / scale / 2));

/** libjpeg decodes at 1/2, 1/4 or 1/8 at almost no cost; sharp leaves a last factor between 1 and 2 to libvips. */
function shrinkOnLoad(scale: number): number {
  if (scale < 1 / 9) return 8;
  if (scale < 1 / 5) return 4;
  return scale < 1 / 3 ? 2 : 1;
}
