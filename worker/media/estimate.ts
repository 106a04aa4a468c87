import type { Format } from './sniff.ts';

/** What a picture's header says, which is all that is known before it is decoded. */
export type Header = {
  format: Format;
  /** Of the picture as it is to be seen, after orientation. */
  width: number;
  height: number;
  /** Stored on its side: width and height change places on the way. */
  turned: boolean;
  channels: number;
  has_alpha: boolean;
  /** More than 8 bits a sample, so that each takes two bytes. */
  deep: boolean;
  /** Progressive JPEG, interlaced PNG: no line is complete before the file has been read whole. */
  interlaced: boolean;
};

/** WebP's own limit, for both sides. https://developers.google.com/speed/webp/faq */
export const maxSide = 16_383;

/** What one picture needs beside its pixels: the libraries' code and tables, threads, heap that is not given back. */
const base = 30e6;
const margin = 1.1;

/**
 * How many bytes the process grows by while this picture becomes WebP of at most `width` pixels across.
 * Measured in fresh processes, with sharp 0.35.5 on one thread and glibc told to give memory back
 * (MALLOC_ARENA_MAX=2, MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_=131072). Rather too much than too little:
 * the test measures it again.
 *
 * | picture                                | estimate MB | measured MB |
 * |----------------------------------------|-------------|-------------|
 * | 24 MP JPEG                             | 43          | 27          |
 * | 24 MP JPEG, turned by EXIF             | 80          | 65          |
 * | 24 MP JPEG, CMYK                       | 43          | 40          |
 * | 24 MP JPEG, progressive, 4:4:4 / 4:2:0 | 198         | 165 / 92    |
 * | 100 MP JPEG                            | 44          | 29          |
 * | 24 MP PNG                              | 54          | 43          |
 * | 24 MP PNG, RGBA, interlaced            | 168         | 139         |
 * | 256 MP PNG / RGBA                      | 144 / 182   | 110 / 140   |
 * | 24 MP WebP, lossless / lossy           | 179         | 133 / 22    |
 * | 24 MP GIF                              | 213         | 145         |
 * | 12 MP AVIF, 8 bits, 4:4:4 / 4:2:0      | 279         | 230 / 192   |
 * | 24 MP AVIF, 10 bits                    | 707         | 599         |
 * | 1600 x 16383 JPEG                      | 231         | 201         |
 * | 1600 x 16383 PNG, RGBA                 | 497         | 451         |
 */
export function estimateMemory(picture: Header, width: number): number {
  const pixels = picture.width * picture.height;
  const scale = Math.min(1, width / picture.width, maxSide / picture.height);
  const outPixels = pixels * scale * scale;
  const out = outPixels * (picture.has_alpha ? 4 : 3);

  const decoding = wholePicture(picture, pixels, out) + rows(picture, scale) + out * (picture.turned ? 2 : 1);
  // libwebp holds the picture as RGB(A), as YUV, and its alpha once more to compress it by itself.
  const encoding = outPixels * (picture.has_alpha ? 16.2 : 7);
  return Math.ceil(base + margin * Math.max(decoding, encoding));
}

/** What the decoder holds of the whole picture; nothing where it can go line by line. */
function wholePicture({ format, channels, deep, interlaced }: Header, pixels: number, out: number): number {
  switch (format) {
    case 'jpeg':
      // 16-bit coefficients, of all channels at full size: what the header says of subsampling need not be so.
      return interlaced ? pixels * channels * 2 : 0;
    case 'png':
      return interlaced ? pixels * channels * (deep ? 2 : 1) : 0;
    case 'webp':
      // A lossless picture is decoded at full size, a lossy one at the size asked for, which the header does not tell.
      return Math.max(pixels * 4.7, out * 2);
    case 'gif':
      return pixels * 6;
    case 'avif':
      return pixels * (deep ? 24 : 17.5);
  }
}

/** The lines that libvips holds to shrink from: more of them the more it shrinks, and to turn a picture, up to a point. */
function rows({ format, width, height, turned, channels, deep }: Header, scale: number): number {
  const loaded = format === 'jpeg' ? shrinkOnLoad(scale) : 1;
  const [across, down] = turned ? [height / loaded, width / loaded] : [width / loaded, height / loaded];
  const lines = turned ? 1250 : Math.min(down, 2000, 260 / (scale * loaded));
  return lines * across * channels * (deep ? 2 : 1);
}

/** libjpeg decodes at a half, a quarter or an eighth for next to nothing; sharp leaves the last factor of 1.x to itself. */
function shrinkOnLoad(scale: number): number {
  if (scale < 1 / 9) return 8;
  if (scale < 1 / 5) return 4;
  return scale < 1 / 3 ? 2 : 1;
}
