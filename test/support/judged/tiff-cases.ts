import sharp from 'sharp';
import type { Case } from './made.ts';
import { greyProfile, rgbProfile, swapped } from './icc.ts';
import { exif, iccp, png, type PngOptions } from './png.ts';
import { greyAt, sceneAt, scenePixels, size } from './scene.ts';
import { tiff, type TiffOptions } from './tiff.ts';

const rgb = (x: number, y: number) => sceneAt(x, y).slice(0, 3);
const grey = (x: number, y: number) => [greyAt(x, y)];
const colour = { photometric: 2, bits: 8, sampleAt: rgb } as const;
const blackIsZero = { photometric: 1, bits: 8, sampleAt: grey } as const;
const inRgb: PngOptions = { colour: 2, depth: 8 };
const inGrey: PngOptions = { colour: 0, depth: 8 };

/** That of png.ts. */
const palette = Array.from({ length: 256 }, (_, n) => [n / 255, n / 510, (255 - n) / 255] as const);

const of = (name: string, options: TiffOptions, twin: PngOptions = inRgb): Case => ({
  name,
  make: async () => ({ file: tiff(options), twin: png(twin) }),
});
const packed = (name: string, make: () => Promise<Buffer>, within?: number): Case => ({
  name,
  make: async () => ({ file: await make(), twin: png(inRgb) }),
  ...(within === undefined ? {} : { within }),
});
const scene = () => sharp(scenePixels(3), { raw: { ...size, channels: 3 } });
export const tiffs: Case[] = [
  of('16 bits, of a Macintosh', { ...colour, bits: 16, bigEndian: true }, { colour: 2, depth: 16 }),
  packed('LZW', () => scene().tiff({ compression: 'lzw', predictor: 'horizontal' }).toBuffer()),
  of('8 bits', colour),
  of('8 bits, of a Macintosh', { ...colour, bigEndian: true }),
  of('16 bits', { ...colour, bits: 16 }, { colour: 2, depth: 16 }),
  of('in strips of 7 rows', { ...colour, rowsPerStrip: 7 }),
  of('in planes', { ...colour, planar: true }),
  of(
    'in planes and strips, of 16 bits',
    { ...colour, planar: true, rowsPerStrip: 5, bits: 16 },
    { colour: 2, depth: 16 },
  ),
  of('deflated', { ...colour, deflate: true }),
  of('deflated, 16 bits, strips, Macintosh', { ...colour, deflate: true, bits: 16, rowsPerStrip: 9, bigEndian: true }),
  of('grey', blackIsZero, inGrey),
  of('grey, 16 bits', { ...blackIsZero, bits: 16 }, { colour: 0, depth: 16 }),
  of('grey, 4 bits', { ...blackIsZero, bits: 4 }, { colour: 0, depth: 4 }),
  of('grey, white is zero', { ...blackIsZero, photometric: 0, sampleAt: (x, y) => [1 - greyAt(x, y)] }, inGrey),
  of(
    'grey, white is zero, 16 bits',
    { ...blackIsZero, photometric: 0, bits: 16, sampleAt: (x, y) => [1 - greyAt(x, y)] },
    inGrey,
  ),
  of('black and white', { ...blackIsZero, bits: 1 }, { colour: 0, depth: 1 }),
  of(
    'black and white, white is zero',
    { ...blackIsZero, photometric: 0, bits: 1, sampleAt: (x, y) => [1 - Math.round(greyAt(x, y))] },
    { colour: 0, depth: 1 },
  ),
  of('with opacity', { ...colour, sampleAt: sceneAt, extraSample: 2 }, { colour: 6, depth: 8 }),
  of('with opacity, 16 bits', { ...colour, bits: 16, sampleAt: sceneAt, extraSample: 2 }, { colour: 6, depth: 16 }),
  of('with opacity, premultiplied', { ...colour, sampleAt: premultiplied, extraSample: 1 }, { colour: 6, depth: 8 }),
  of(
    'grey with opacity',
    { ...blackIsZero, sampleAt: (x, y) => [greyAt(x, y), sceneAt(x, y)[3]], extraSample: 2 },
    { colour: 4, depth: 8 },
  ),
  of('palette', { photometric: 3, bits: 8, sampleAt: (x) => [x], palette }, { colour: 3, depth: 8 }),
  of('two pages', { ...colour, secondPage: true }),
  of(
    'profile with red and blue swapped',
    { ...colour, profile: rgbProfile(swapped, 2.2) },
    { ...inRgb, chunks: [iccp(rgbProfile(swapped, 2.2))] },
  ),
  of(
    'profile with red and blue swapped, 16 bits',
    { ...colour, bits: 16, profile: rgbProfile(swapped, 2.2) },
    { ...inRgb, chunks: [iccp(rgbProfile(swapped, 2.2))] },
  ),
  of(
    'grey with a profile of gamma 1',
    { ...blackIsZero, profile: greyProfile(1) },
    { ...inGrey, chunks: [iccp(greyProfile(1))] },
  ),
  of(
    'grey with a profile of gamma 1, 16 bits',
    { ...blackIsZero, bits: 16, profile: greyProfile(1) },
    { ...inGrey, chunks: [iccp(greyProfile(1))] },
  ),
  of(
    'grey with a profile for RGB, 16 bits',
    { ...blackIsZero, bits: 16, profile: rgbProfile(swapped, 1) },
    { ...inGrey, chunks: [iccp(rgbProfile(swapped, 1))] },
  ),
  of(
    'grey with opacity and a profile of gamma 1, 16 bits',
    {
      ...blackIsZero,
      bits: 16,
      sampleAt: (x, y) => [greyAt(x, y), sceneAt(x, y)[3]],
      extraSample: 2,
      profile: greyProfile(1),
    },
    { colour: 4, depth: 8, chunks: [iccp(greyProfile(1))] },
  ),
  ...[1, 2, 3, 4, 5, 6, 7, 8].map((orientation) =>
    of(`orientation ${orientation}`, { ...colour, orientation }, { ...inRgb, chunks: [exif(orientation)] }),
  ),
  packed('packbits', () => scene().tiff({ compression: 'packbits' }).toBuffer()),
  packed('JPEG', () => scene().tiff({ compression: 'jpeg', quality: 95 }).toBuffer()),
  packed('LZW in tiles', () =>
    scene().tiff({ compression: 'lzw', tile: true, tileWidth: 16, tileHeight: 16 }).toBuffer(),
  ),
  packed('JPEG in tiles', () =>
    scene().tiff({ compression: 'jpeg', quality: 95, tile: true, tileWidth: 16, tileHeight: 16 }).toBuffer(),
  ),
  packed('with smaller copies', () =>
    scene().tiff({ compression: 'deflate', pyramid: true, tile: true, tileWidth: 16, tileHeight: 16 }).toBuffer(),
  ),
  packed('CMYK with a profile', () => scene().withIccProfile('cmyk').tiff({ compression: 'lzw' }).toBuffer(), 30),
];

function premultiplied(x: number, y: number): number[] {
  const [red, green, blue, alpha] = sceneAt(x, y);
  return [red * alpha, green * alpha, blue * alpha, alpha];
}
