import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32, deflateSync } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { kept, versionOf } from './kept.ts';

export type PictureOptions = {
  width?: number;
  height?: number;
  format?: 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'tiff';
  /** EXIF orientation, 1 to 8: a tag only, the pixels stay. */
  orientation?: number;
  /** EXIF with a place, a camera and a name, and XMP. */
  gps?: boolean;
  /** The right half see-through. */
  alpha?: boolean;
  /** Progressive JPEG, interlaced PNG. */
  progressive?: boolean;
  /** Colours written in this profile, which is attached. */
  profile?: 'p3' | 'cmyk';
  /** 16 bits a sample (PNG), 10 (AVIF). */
  deep?: boolean;
  grey?: boolean;
  palette?: boolean;
  lossless?: boolean;
  /** A JPEG is 4:2:0 and an AVIF 4:4:4 unless it says otherwise. */
  subsampling?: '4:2:0' | '4:4:4';
  /** Of a TIFF: the side of its tiles; it is in strips if there is none. */
  tiled?: number;
  /** One colour instead of four quarters: '#c83c28'. */
  colour?: string;
  /** Something like a photograph, as hard to compress as one. */
  photo?: boolean;
  /** Squares of this side, whose colours (and alpha) are random: nothing is harder to compress. */
  grain?: number;
};

export const red = [220, 20, 20] as const;
export const green = [20, 180, 20] as const;
export const blue = [20, 20, 220] as const;
export const white = [250, 250, 250] as const;

/** A picture file: red and green quarters above blue and white ones, unless told otherwise. */
export async function picture(options: PictureOptions = {}): Promise<Buffer> {
  const recipe = ['picture', await versionOf(import.meta.filename), sharp.versions, options];
  return kept(recipe, () => paint(options));
}

async function paint(options: PictureOptions): Promise<Buffer> {
  const { width = 400, height = 300, format = 'jpeg', alpha, photo, grain, colour } = options;
  const channels = alpha ? 4 : 3;
  const plain = { limitInputPixels: false } as const;
  const pixels = () =>
    photo ? noise(width, height) : grain ? grains(width, height, channels, grain) : quarters(width, height, alpha);
  const canvas = colour
    ? sharp({ ...plain, create: { width, height, channels, background: colour } })
    : sharp(await pixels(), { ...plain, raw: { width, height, channels: photo ? 3 : channels } });
  if (photo && alpha) canvas.ensureAlpha(0.6);
  return encode(dress(canvas, options), format, options).toBuffer();
}

function quarters(width: number, height: number, alpha = false): Buffer {
  const channels = alpha ? 4 : 3;
  const row = (left: readonly number[], right: readonly number[]) => {
    const line = Buffer.alloc(width * channels);
    for (let x = 0; x < width; x++) {
      line.set(x < width / 2 ? left : right, x * channels);
      if (alpha) line[x * 4 + 3] = x < width / 2 ? 255 : 0;
    }
    return line;
  };
  const [above, below] = [row(red, green), row(blue, white)];
  return Buffer.concat(Array.from({ length: height }, (_, y) => (y < height / 2 ? above : below)));
}

/** Random bytes, the same ones each time. */
function random(bytes: number, seed: number): Buffer {
  const data = Buffer.alloc(bytes);
  let state = seed;
  for (let i = 0; i < data.length; i++) data[i] = (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return data;
}

function grains(width: number, height: number, channels: 3 | 4, side: number): Promise<Buffer> {
  const raw = { width: Math.ceil(width / side), height: Math.ceil(height / side), channels };
  return sharp(random(raw.width * raw.height * channels, 3), { raw })
    .resize(width, height, { fit: 'fill', kernel: 'nearest' })
    .raw()
    .toBuffer();
}

/** Blotches with grain on them, the same ones each time. */
async function noise(width: number, height: number): Promise<Buffer> {
  const layer = (w: number, h: number, seed: number) =>
    sharp(random(w * h * 3, seed), { raw: { width: w, height: h, channels: 3 } }).resize(width, height, {
      fit: 'fill',
      kernel: 'linear',
    });
  const [blotches, grain] = await Promise.all([
    layer(24, 16, 1).raw().toBuffer(),
    layer(Math.ceil(width / 3), Math.ceil(height / 3), 2)
      .raw()
      .toBuffer(),
  ]);
  for (let i = 0; i < blotches.length; i++) blotches[i] = (blotches[i]! * 13 + grain[i]! * 3) >> 4;
  return blotches;
}

function dress(image: Sharp, { orientation, gps, profile, deep, grey }: PictureOptions): Sharp {
  if (grey) image.greyscale().toColourspace(deep ? 'grey16' : 'b-w');
  else if (deep) image.toColourspace('rgb16');
  if (profile) image.withIccProfile(profile);
  if (gps)
    image
      .withExif({
        IFD0: { Artist: 'Ada Canary', Make: 'Camera', Model: 'One' },
        IFD3: {
          GPSLatitudeRef: 'N',
          GPSLatitude: '52/1 31/1 12/1',
          GPSLongitudeRef: 'E',
          GPSLongitude: '13/1 24/1 18/1',
        },
      })
      .withXmp(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="52,31.2000N" exif:GPSLongitude="13,24.3000E"/></rdf:RDF></x:xmpmeta>',
      );
  return orientation ? image.withMetadata({ orientation }) : image;
}

function encode(image: Sharp, format: NonNullable<PictureOptions['format']>, options: PictureOptions): Sharp {
  const { progressive = false, palette = false, lossless = false, subsampling, tiled, deep } = options;
  const { width = 0, height = 0 } = options;
  switch (format) {
    case 'png':
      return image.png({ progressive, palette, compressionLevel: 1 });
    case 'webp':
      // What libwebp's first partition holds is not enough for more pixels of quality 90.
      return image.webp({ quality: width * height > 16e6 ? 70 : 90, lossless, effort: 0 });
    case 'gif':
      return image.gif({ effort: 1 });
    case 'avif':
      return image.avif({
        quality: 80,
        effort: 0,
        bitdepth: deep ? 10 : 8,
        chromaSubsampling: subsampling ?? '4:4:4',
      });
    case 'tiff':
      return image.tiff({ compression: 'lzw', ...(tiled ? { tile: true, tileWidth: tiled, tileHeight: tiled } : {}) });
    case 'jpeg':
      return image.jpeg({ quality: 90, progressive, chromaSubsampling: subsampling ?? '4:2:0' });
  }
}

/** A JPEG with a city in IPTC, as news agencies write it. https://www.iptc.org/std/IIM/4.2/specification/IIMV4.2.pdf */
export function withIptc(jpeg: Buffer, city: string): Buffer {
  const record = Buffer.concat([Buffer.from([0x1c, 2, 90, 0, city.length]), Buffer.from(city, 'latin1')]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(record.length);
  const resource = Buffer.concat([
    Buffer.from('8BIM\x04\x04\0\0', 'latin1'),
    size,
    record,
    Buffer.alloc(record.length % 2),
  ]);
  const body = Buffer.concat([Buffer.from('Photoshop 3.0\0', 'latin1'), resource]);
  const head = Buffer.from([0xff, 0xed, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, body, jpeg.subarray(2)]);
}

/** A CMYK JPEG of one colour, with no profile to say what its inks are. */
export const cmykWithoutProfile = (colour: string): Promise<Buffer> =>
  sharp({ create: { width: 400, height: 300, channels: 3, background: colour } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();

/** A JPEG as phones make them: an ordinary picture, and beside it what makes it HDR. */
export async function ultraHdr(): Promise<Buffer> {
  // sharp's types lag behind sharp here.
  return (sharp(await picture()) as Sharp & { withGainMap(): Sharp }).withGainMap().jpeg().toBuffer();
}

/** Two frames, the first in quarters, the second black. */
export function animated(format: 'gif' | 'webp'): Promise<Buffer> {
  const frames = Buffer.concat([quarters(400, 300), Buffer.alloc(400 * 300 * 3)]);
  const all = sharp(frames, { raw: { width: 400, height: 600, channels: 3, pageHeight: 300 } });
  return (format === 'gif' ? all.gif({ delay: [100, 100] }) : all.webp({ quality: 90 })).toBuffer();
}

/**
 * An animated PNG: the still that it also is, then a black frame.
 * https://www.w3.org/TR/png-3/#apng-frame-based-animation
 */
export async function animatedPng(): Promise<Buffer> {
  const chunks = pngChunks(await picture({ format: 'png' }));
  const control = (sequence: number) => {
    const data = Buffer.alloc(26);
    for (const [i, value] of [sequence, 400, 300].entries()) data.writeUInt32BE(value, i * 4);
    data.writeUInt16BE(1, 20);
    data.writeUInt16BE(10, 22);
    return pngChunk('fcTL', data);
  };
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 2]), deflateSync(Buffer.alloc(300 * (1 + 400 * 3)))]);
  const start = chunks.findIndex(({ type }) => type === 'IDAT');
  chunks.splice(-1, 0, { type: 'fcTL', bytes: control(1) }, { type: 'fdAT', bytes: pngChunk('fdAT', frame) });
  chunks.splice(
    start,
    0,
    { type: 'acTL', bytes: pngChunk('acTL', Buffer.from([0, 0, 0, 2, 0, 0, 0, 0])) },
    { type: 'fcTL', bytes: control(0) },
  );
  return Buffer.concat([pngSignature, ...chunks.map(({ bytes }) => bytes)]);
}

/** A few bytes of a PNG that say they become `width` x `height` pixels. */
export async function pngBomb({
  width,
  height,
  interlaced = false,
}: {
  width: number;
  height: number;
  interlaced?: boolean;
}): Promise<Buffer> {
  const [header, ...rest] = pngChunks(await picture({ format: 'png', width: 8, height: 8 }));
  const data = Buffer.from(header!.bytes.subarray(8, -4));
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data[12] = interlaced ? 1 : 0;
  return Buffer.concat([pngSignature, pngChunk('IHDR', data), ...rest.map(({ bytes }) => bytes)]);
}

/** A small AVIF whose header says it is larger. */
export async function avifBomb({ width, height }: { width: number; height: number }): Promise<Buffer> {
  const file = await picture({ format: 'avif', width: 64, height: 64 });
  for (let at = file.indexOf('ispe'); at >= 0; at = file.indexOf('ispe', at + 4)) {
    file.writeUInt32BE(width, at + 8);
    file.writeUInt32BE(height, at + 12);
  }
  return file;
}

export const truncated = (file: Buffer, share = 0.5): Buffer => file.subarray(0, Math.floor(file.length * share));

const pngSignature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

function pngChunks(file: Buffer): { type: string; bytes: Buffer }[] {
  const chunks = [];
  for (let at = 8; at < file.length;) {
    const end = at + 12 + file.readUInt32BE(at);
    chunks.push({ type: file.toString('latin1', at + 4, at + 8), bytes: file.subarray(at, end) });
    at = end;
  }
  return chunks;
}

export function pngChunk(type: string, data: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}

/** A small JPEG whose header says it has 60000 x 60000 pixels. */
export async function jpegBomb(): Promise<Buffer> {
  const file = await picture();
  const frame = file.indexOf(Buffer.from([0xff, 0xc0]));
  file.writeUInt16BE(60_000, frame + 5);
  file.writeUInt16BE(60_000, frame + 7);
  return file;
}

/**
 * A small WebP whose header says it has 16383 x 16383 pixels.
 * https://developers.google.com/speed/webp/docs/webp_lossless_bitstream_specification
 */
export async function webpBomb(): Promise<Buffer> {
  const file = await picture({ format: 'webp', lossless: true });
  file.writeUInt32LE(16_382 | (16_382 << 14), file.indexOf('VP8L') + 9);
  return file;
}

/** A small GIF whose header, and whose frame, say 65535 x 65535. */
export async function gifBomb(): Promise<Buffer> {
  const file = await picture({ format: 'gif', width: 400, height: 300 });
  file.writeUInt32LE(0xffff_ffff, 6);
  file.writeUInt32LE(
    0xffff_ffff,
    file.indexOf(Buffer.from([0x2c, 0, 0, 0, 0, 400 & 255, 400 >> 8, 300 & 255, 300 >> 8])) + 5,
  );
  return file;
}

/** A HEIC file of test/fixtures. Written by heif-enc, whose encoder no package brings. */
export const fixture = (name: string): Promise<Buffer> =>
  readFile(join(import.meta.dirname, `../fixtures/${name}.heic`));
