import sharp, { type Sharp, type WebpOptions } from 'sharp';
import { generate } from '../clips.ts';
import type { Case } from './made.ts';
import { adobeRgb, greyProfile, rgbProfile, srgb, swapped } from './icc.ts';
import { exif, iccp, png, type PngOptions } from './png.ts';
import { sceneFilter, scenePixels, size } from './scene.ts';

const orientations = [1, 2, 3, 4, 5, 6, 7, 8];
const raw = (channels: 1 | 2 | 3 | 4) => ({ raw: { ...size, channels } });
const scene = (channels: 1 | 2 | 3 | 4 = 3) => sharp(scenePixels(channels), raw(channels));
const turned = (orientation: number) => scene().withMetadata({ orientation });

const of = (name: string, make: () => Sharp | Promise<Buffer>, within?: number): Case => ({
  name,
  make: async () => ({ file: await toBuffer(make()) }),
  ...(within === undefined ? {} : { within }),
});
const toBuffer = (made: Sharp | Promise<Buffer>) => ('toBuffer' in made ? made.toBuffer() : made);

const high = { quality: 95 };

export const jpegs: Case[] = [
  of('4:2:0', () => scene().jpeg(high)),
  of('turned by EXIF 6', () => turned(6).jpeg(high)),
  of('4:4:4', () => scene().jpeg({ ...high, chromaSubsampling: '4:4:4' })),
  of('progressive 4:2:0', () => scene().jpeg({ ...high, progressive: true })),
  of('progressive 4:4:4', () => scene().jpeg({ ...high, progressive: true, chromaSubsampling: '4:4:4' })),
  of('grey', () => scene(1).toColourspace('b-w').jpeg(high)),
  of('grey, progressive', () =>
    scene(1)
      .toColourspace('b-w')
      .jpeg({ ...high, progressive: true }),
  ),
  ...orientations.map((n) => of(`orientation ${n}`, () => turned(n).jpeg(high))),
  ...orientations.map((n) => of(`orientation ${n}, progressive`, () => turned(n).jpeg({ ...high, progressive: true }))),
  ...['yuvj422p', 'yuvj444p', 'yuvj420p'].map((format) => of(`of ffmpeg, ${format}`, () => mjpeg(format))),
  of('Display P3', () => scene().withIccProfile('p3').jpeg(high)),
  of('profile of Adobe RGB', () => withProfile(rgbProfile(adobeRgb, 2.2))),
  of('profile with red and blue swapped', () => withProfile(rgbProfile(swapped, 2.2))),
  of('profile of linear light', () => withProfile(rgbProfile(srgb, 1))),
  of('grey with a profile of gamma 1', () => withProfile(greyProfile(1), 1)),
  of('grey with a profile of gamma 2.8', () => withProfile(greyProfile(2.8), 1)),
  of('grey with a profile for RGB', () => withProfile(rgbProfile(swapped, 2.2), 1)),
  of('colour with a profile for grey', () => withProfile(greyProfile(1), 3)),
  of('a profile that is none', () => withProfile(Buffer.from('not a profile'.padEnd(200)), 3)),
  of('CMYK with a profile', () => scene().withIccProfile('cmyk').jpeg(high), 8),
  of('stored as RGB', async () =>
    withMarker(
      await scene()
        .jpeg({ ...high, chromaSubsampling: '4:4:4' })
        .toBuffer(),
      adobe(0),
    ),
  ),
  of('stored as YCbCr, with Adobe’s word', async () => withMarker(await scene().jpeg(high).toBuffer(), adobe(1))),
  of('in a progressive P3, turned by 8', () =>
    turned(8)
      .withIccProfile('p3')
      .withMetadata({ orientation: 8 })
      .jpeg({ ...high, progressive: true }),
  ),
  of('with bytes behind its end', async () =>
    Buffer.concat([await scene().jpeg(high).toBuffer(), Buffer.alloc(5000, 7)]),
  ),
  of('with a second picture behind it', async () => {
    const one = await scene().jpeg(high).toBuffer();
    return Buffer.concat([one, await sharp(one).negate().jpeg().toBuffer()]);
  }),
  ...[2, 7, 8, 9, 15, 16, 17, 33].map((side) => of(`${side} x ${side + 2} pixels`, () => small(side).jpeg(high))),
];

const small = (side: number) => {
  const box = { width: side, height: side + 2 };
  return sharp(scenePixels(3, box), { raw: { ...box, channels: 3 } });
};

function mjpeg(format: string): Promise<Buffer> {
  const source = `nullsrc=s=${size.width}x${size.height}:d=1:r=1,format=gbrp,${sceneFilter(255)}`;
  const to = `scale=out_range=full:out_color_matrix=bt601:flags=accurate_rnd+full_chroma_int,format=${format}`;
  return generate('of-ffmpeg.jpg', `-f lavfi -i ${source},${to} -frames:v 1 -q:v 1 -strict unofficial`);
}

/** Pixels as they are, and this profile beside them. */
async function withProfile(profile: Buffer, channels: 1 | 3 = 3): Promise<Buffer> {
  const picture = channels === 1 ? scene(1).toColourspace('b-w') : scene();
  const head = Buffer.concat([Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1'), profile]);
  return withMarker(await picture.jpeg(high).toBuffer(), segment(0xe2, head));
}

/** Behind the start, or JFIF's own first marker: a program that reads Adobe's believes it over JFIF. */
const withMarker = (jpeg: Buffer, marker: Buffer) => {
  const jfif = jpeg[3] === 0xe0 ? 4 + jpeg.readUInt16BE(4) : 2;
  const rest = jpeg.subarray(jfif);
  return Buffer.concat([jpeg.subarray(0, 2), marker, rest]);
};

const adobe = (transform: number) =>
  segment(0xee, Buffer.from(`Adobe\0d\0\0\0\0${String.fromCharCode(transform)}`, 'latin1'));

function segment(marker: number, body: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([head, body]);
}

const pngOf = (name: string, options: PngOptions, within?: number) => of(name, async () => png(options), within);
const kinds = [
  [0, [1, 2, 4, 8, 16]],
  [2, [8, 16]],
  [3, [1, 2, 4, 8]],
  [4, [8, 16]],
  [6, [8, 16]],
] as const;
const colourNames = { 0: 'grey', 2: 'RGB', 3: 'palette', 4: 'grey and alpha', 6: 'RGBA' };
const longs = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [n, value] of values.entries()) bytes.writeUInt32BE(value, n * 4);
  return bytes;
};
const gamma = (value: number): [string, Buffer] => ['gAMA', longs(Math.round(value * 100_000))];
const chromaticities = (...values: number[]): [string, Buffer] => [
  'cHRM',
  longs(...values.map((value) => Math.round(value * 100_000))),
];
const cicp = (...values: number[]): [string, Buffer] => ['cICP', Buffer.from(values)];
const rgb8 = { colour: 2, depth: 8 } as const;

export const pngs: Case[] = [
  pngOf('RGBA, 16 bits, interlaced', { colour: 6, depth: 16, interlaced: true }),
  pngOf('palette with opacity', {
    colour: 3,
    depth: 8,
    chunks: [['tRNS', Buffer.from(Array.from({ length: 200 }, (_, n) => n))]],
  }),
  ...kinds.flatMap(([colour, depths]) =>
    depths.flatMap((depth) =>
      [false, true].map((interlaced) =>
        pngOf(`${colourNames[colour]}, ${depth} bits${interlaced ? ', interlaced' : ''}`, {
          colour,
          depth,
          interlaced,
        }),
      ),
    ),
  ),
  pngOf('grey, one value see-through', { colour: 0, depth: 8, chunks: [['tRNS', Buffer.from([0, 100])]] }),
  pngOf('grey of 2 bits, one value see-through', { colour: 0, depth: 2, chunks: [['tRNS', Buffer.from([0, 2])]] }),
  pngOf('grey of 16 bits, one value see-through', { colour: 0, depth: 16, chunks: [['tRNS', Buffer.from([0, 0])]] }),
  pngOf('RGB, black see-through', { ...rgb8, chunks: [['tRNS', Buffer.alloc(6)]] }),
  pngOf('RGB of 16 bits, black see-through', { colour: 2, depth: 16, chunks: [['tRNS', Buffer.alloc(6)]] }),
  pngOf('palette of 2 bits with opacity', { colour: 3, depth: 2, chunks: [['tRNS', Buffer.from([0, 128])]] }),
  ...[2, 3, 4, 5, 6, 7, 8].map((n) => pngOf(`orientation ${n}`, { ...rgb8, chunks: [exif(n)] })),
  pngOf('orientation 6, interlaced', { ...rgb8, interlaced: true, chunks: [exif(6)] }),
  pngOf('profile with red and blue swapped', { ...rgb8, chunks: [iccp(rgbProfile(swapped, 2.2))] }),
  pngOf('profile of linear light', { ...rgb8, chunks: [iccp(rgbProfile(srgb, 1))] }),
  pngOf('profile of Adobe RGB, 16 bits', { colour: 2, depth: 16, chunks: [iccp(rgbProfile(adobeRgb, 2.2))] }),
  pngOf('profile of Adobe RGB, RGBA', { colour: 6, depth: 8, chunks: [iccp(rgbProfile(adobeRgb, 2.2))] }),
  pngOf('palette with a profile', { colour: 3, depth: 8, chunks: [iccp(rgbProfile(swapped, 2.2))] }),
  pngOf('grey with a profile of gamma 1', { colour: 0, depth: 8, chunks: [iccp(greyProfile(1))] }),
  pngOf('grey of 16 bits with a profile of gamma 1', { colour: 0, depth: 16, chunks: [iccp(greyProfile(1))] }),
  pngOf('grey and alpha with a profile of gamma 1', { colour: 4, depth: 8, chunks: [iccp(greyProfile(1))] }),
  pngOf('grey and alpha of 16 bits with a profile of gamma 1', {
    colour: 4,
    depth: 16,
    chunks: [iccp(greyProfile(1))],
  }),
  pngOf('sRGB said', { ...rgb8, chunks: [['sRGB', Buffer.from([0])]] }),
  pngOf('gamma of sRGB', { ...rgb8, chunks: [gamma(0.45455)] }),
  pngOf('gamma 1', { ...rgb8, chunks: [gamma(1)] }),
  pngOf('gamma 1, grey of 16 bits and alpha', { colour: 4, depth: 16, chunks: [gamma(1)] }),
  pngOf('gamma 1, grey of 1 bit', { colour: 0, depth: 1, chunks: [gamma(1)] }),
  pngOf('gamma 1, grey', { colour: 0, depth: 8, chunks: [gamma(1)] }),
  pngOf('gamma 1, palette with opacity', {
    colour: 3,
    depth: 2,
    chunks: [gamma(1), ['tRNS', Buffer.from([0, 128])]],
  }),
  pngOf('gamma of a Macintosh, RGBA', { colour: 6, depth: 8, chunks: [gamma(1 / 1.8)] }),
  pngOf('gamma 1, and a profile', { ...rgb8, chunks: [gamma(1), iccp(rgbProfile(swapped, 2.2))] }),
  pngOf('gamma of sRGB, its primaries with a white of D50', {
    ...rgb8,
    chunks: [gamma(0.45455), chromaticities(0.3457, 0.3585, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)],
  }),
  pngOf('primaries of P3, and no gamma', {
    ...rgb8,
    chunks: [chromaticities(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)],
  }),
  pngOf('gamma 1, and primaries that are none', {
    ...rgb8,
    chunks: [gamma(1), chromaticities(0, 0, 0, 0, 0, 0, 0, 0)],
  }),
  pngOf('gamma 0', { ...rgb8, chunks: [gamma(0)] }),
  pngOf('gamma 1, and sRGB said', { ...rgb8, chunks: [gamma(1), ['sRGB', Buffer.from([0])]] }),
  pngOf('gamma of sRGB, primaries of P3', {
    ...rgb8,
    chunks: [gamma(0.45455), chromaticities(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)],
  }),
  pngOf('cICP of sRGB', { ...rgb8, chunks: [cicp(1, 13, 0, 1)] }),
  pngOf('cICP of P3', { ...rgb8, chunks: [cicp(12, 13, 0, 1)] }),
  pngOf('cICP of BT.2020, 16 bits', { colour: 2, depth: 16, chunks: [cicp(9, 1, 0, 1)] }, 5),
  pngOf('cICP of P3 over a profile', { ...rgb8, chunks: [cicp(12, 13, 0, 1), iccp(rgbProfile(swapped, 2.2))] }),
  pngOf('cICP of PQ, 16 bits', { colour: 2, depth: 16, chunks: [cicp(9, 16, 0, 1)] }, 6),
  pngOf('cICP of HLG, 16 bits', { colour: 2, depth: 16, chunks: [cicp(9, 18, 0, 1)] }, 6),
  pngOf('cICP of PQ, 8 bits, interlaced', { ...rgb8, interlaced: true, chunks: [cicp(9, 16, 0, 1)] }, 6),
];

/** Chromium turns no WebP; others do, and so do we. */
const turnedWebp = (name: string, orientation: number, options: WebpOptions): Case => ({
  name,
  make: async () => ({
    file: await turned(orientation).webp(options).toBuffer(),
    twin: png({ ...rgb8, chunks: [exif(orientation)] }),
  }),
});

export const webps: Case[] = [
  of('lossy with alpha', () => scene(4).webp(high)),
  turnedWebp('lossless, turned by EXIF 8', 8, { lossless: true }),
  of('lossy', () => scene().webp(high)),
  of('lossless with alpha', () => scene(4).webp({ lossless: true })),
  of('nearly lossless', () => scene().webp({ nearLossless: true, quality: 60 })),
  ...orientations.map((n) => turnedWebp(`orientation ${n}`, n, high)),
  of('Display P3', () => scene().withIccProfile('p3').webp(high)),
  of('Display P3 with alpha, lossless', () => scene(4).withIccProfile('p3').webp({ lossless: true })),
  of('grey', () => scene(1).webp({ lossless: true })),
  of('grey and alpha', () => scene(2).webp({ lossless: true })),
  ...[2, 3, 9, 17].map((side) => of(`${side} x ${side + 2} pixels`, () => small(side).webp(high))),
];
