import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import { avifOf, box, codedItem, heifFile, icc, ispe, nclx, u16, u32, type HeifItem } from '../../support/heif.ts';
import { coded, heif, itemOf } from '../../support/judged/heif.ts';
import { greyProfile } from '../../support/judged/icc.ts';
import { iccp } from '../../support/judged/png.ts';
import { optimised } from '../../support/optimised.ts';
import { pngChunk } from '../../support/pictures.ts';
import { assertColours, quartersOf, variantsOf } from '../../support/variants.ts';

type Colour = readonly [number, number, number];

/** The colour in the middle of what is made of the file. */
async function seen(file: Buffer): Promise<number[]> {
  const { main } = await optimised(file);
  return (await quartersOf(main.data))[0]!.slice(0, 3);
}

/** An AVIF of one colour, each part of it coded from 0 to 1, that says what it means. */
async function avif(colour: Colour, ...boxes: Buffer[]): Promise<Buffer> {
  const item = codedItem(await avifOf(colour));
  return heifFile({ brand: 'avif', items: [{ ...item, properties: [...item.properties, ...boxes] }] });
}

/**
 * 64 x 64 pixels of AV1 without colours, each coded as 128, by ffmpeg 7.1. Older ones and sharp write grey as colours.
 * AV1 Codec ISO Media File Format Binding, 2.3
 */
const greyAv1: HeifItem = {
  type: 'av01',
  data: Buffer.from('0a0618157ffda540320715000001200044', 'hex'),
  properties: [ispe(64, 64), Buffer.from('0000000c6176314381001c00', 'hex')],
};

/** A PNG of one colour and 16 bits, with chunks before its pixels. */
async function png(colour: Colour, ...chunks: Buffer[]): Promise<Buffer> {
  const row = Uint16Array.from({ length: 64 * 64 * 3 }, (_, n) => Math.round(colour[n % 3]! * 65_535));
  const file = await sharp(row, { raw: { width: 64, height: 64, channels: 3 } })
    .toColourspace('rgb16')
    .png()
    .toBuffer();
  return Buffer.concat([file.subarray(0, 33), ...chunks, file.subarray(33)]);
}

const cicp = (...numbers: [primaries: number, transfer: number, matrix: number, full: number]) =>
  pngChunk('cICP', Buffer.from(numbers));

const cLLI = (brightest: number) => pngChunk('cLLI', Buffer.concat([u32(brightest * 10_000), u32(0)]));

/** How PQ codes light of so many cd/m2. SMPTE ST 2084. */
const pq = (light: number): number => {
  const y = (light / 10_000) ** 0.1593017578125;
  return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375;
};
const greyOf = (code: number): Colour => [code, code, code];

/**
 * What ffmpeg makes of them by the filters that videos go through, but with the curve of sRGB: zscale and tonemap of
 * 5.1.
 */
const hdr: [what: string, transfer: 16 | 18, colour: Colour, expected: Colour][] = [
  ['black in PQ', 16, greyOf(0), [0, 0, 0]],
  ['grey of 20 cd/m2 in PQ', 16, greyOf(pq(20)), [78, 78, 78]],
  ['the white of paper in PQ', 16, greyOf(pq(203)), [190, 190, 190]],
  ['the brightest white in PQ', 16, greyOf(1), [255, 255, 255]],
  ['red in PQ', 16, [pq(150), pq(20), pq(10)], [198, 24, 33]],
  ['the middle of HLG', 18, greyOf(0.5), [118, 118, 118]],
  ['the white of paper in HLG', 18, greyOf(0.75), [190, 190, 190]],
];

describe('An HDR still', () => {
  for (const [what, transfer, colour, expected] of hdr) {
    it(`shows ${what} as an ordinary screen does: AVIF`, async () => {
      assertColours([await seen(await avif(colour, nclx(9, transfer, 6, 'full')))], [expected], 4);
    });
    it(`shows ${what} as an ordinary screen does: PNG`, async () => {
      assertColours([await seen(await png(colour, cicp(9, transfer, 0, 1)))], [expected], 4);
    });
  }

  it('is brighter where the file says that nothing in it is as bright as 1000 cd/m2', async () => {
    const colour = greyOf(pq(203));
    const clli = box('clli', u16(400), u16(100));
    const shown = await seen(await avif(colour, nclx(9, 16, 6, 'full'), clli));
    assert.ok(shown[0]! > 205, `it is ${shown.join()}`);
    assertColours([await seen(await png(colour, cicp(9, 16, 0, 1), cLLI(400)))], [shown], 4);
  });

  it('is the same in variants', async () => {
    const [, transfer, colour, expected] = hdr[4]!;
    const { variants } = await variantsOf(await avif(colour, nclx(9, transfer, 6, 'full')));
    for (const { data } of variants) assertColours(await quartersOf(data), [expected], 4);
  });
});

describe('Colours by number', () => {
  it('of a wide range are brought to sRGB', async () => {
    // What sRGB calls (200, 60, 40), in Display P3.
    const p3: Colour = [0.7359, 0.2776, 0.2038];
    assertColours([await seen(await avif(p3, nclx(12, 13, 6, 'full')))], [[200, 60, 40]], 4);
    assertColours([await seen(await png(p3, cicp(12, 13, 0, 1)))], [[200, 60, 40]], 4);
  });

  it('count less than a profile in AVIF, and more in PNG', async () => {
    const plain = sharp({ create: { width: 8, height: 8, channels: 3, background: '#888' } });
    const p3 = (await sharp(await plain.withIccProfile('p3').png().toBuffer()).metadata()).icc!;
    const colour: Colour = [0.7359, 0.2776, 0.2038];
    assertColours([await seen(await avif(colour, icc(p3), nclx(9, 13, 6, 'full')))], [[200, 60, 40]], 4);
    const profile = pngChunk(...iccp(p3));
    assertColours([await seen(await png(colour, profile))], [[200, 60, 40]], 4);
    assertColours([await seen(await png(colour, cicp(1, 13, 0, 1), profile))], [[188, 71, 52]], 4);
  });

  it('and a range that is not full are stretched, even in grey', async () => {
    const numbers = nclx(1, 13, 6, 'limited');
    assertColours([await seen(await avif(greyOf(16 / 255), numbers))], [[0, 0, 0]], 2);
    const grey = heifFile({ brand: 'avif', items: [{ ...greyAv1, properties: [...greyAv1.properties, numbers] }] });
    assertColours([await seen(grey)], [greyOf(((128 - 16) / 219) * 255)], 1);
  });
});

const linear = 1;
const s15 = (value: number) => u32(Math.round(value * 65_536));
const tag = (type: string, ...rest: Buffer[]) => Buffer.concat([Buffer.from(`${type}\0\0\0\0`, 'latin1'), ...rest]);
const table = tag('curv', u32(3), u16(0), u16(6554), u16(65_535), u16(0));
const parametric = (kind: number, ...numbers: number[]) => tag('para', u16(kind), u16(0), ...numbers.map(s15));

/** Light of 0.5 is 188, of 0.55 is 196, of 0.25 is 137. */
const curves: [what: string, light: number | Buffer, code: number, expected: number][] = [
  ['a gamma', linear, 0.5, 188],
  ['no curve', tag('curv', u32(0)), 0.5, 188],
  ['a table', table, 0.75, 196],
  ['the gamma of a function', parametric(0, 2), 0.5, 137],
  ['a function of three numbers', parametric(1, 1, 2, -0.5), 0.5, 188],
  ['a function of four numbers', parametric(2, 1, 1, -0.5, 0.5), 0.25, 188],
  ['a function of five numbers', parametric(3, 1, 1, 0, 0.5, 0.75), 0.5, 137],
  ['a function of seven numbers', parametric(4, 1, 0.5, 0, 1, 0, 0.25, 0), 0.5, 188],
  ['a curve that is cut off, which does not count', tag('curv', u32(4_000_000_000)), 0.5, 128],
];

describe('Grey', () => {
  for (const [what, light, code, expected] of curves)
    it(`of 16 bits is as its profile says, by ${what}`, async () => {
      const chunk = pngChunk(...iccp(greyProfile(light)));
      assertColours([await seen(await greyPng(code, chunk))], [greyOf(expected)], 1);
    });

  for (const [codec, full] of [
    ['av1', true],
    ['av1', false],
    ['hevc', true],
  ] as const)
    it(`of ${codec} and ${full ? 'full' : 'limited'} range is as its profile says`, async () => {
      const item = codec === 'av1' ? greyAv1 : await greyHevc();
      const numbers = nclx(1, 13, 6, full ? 'full' : 'limited');
      const brand = codec === 'av1' ? 'avif' : 'heic';
      const shown = (...more: Buffer[]) =>
        seen(heifFile({ brand, items: [{ ...item, properties: [...item.properties, numbers, ...more] }] }));
      const [code] = await shown();
      const light = 255 * (1.055 * (code! / 255) ** (1 / 2.4) - 0.055);
      assertColours([await shown(icc(greyProfile(linear)))], [greyOf(light)], 4);
    });
});

async function greyHevc(): Promise<HeifItem> {
  return codedItem(heif('heic', [itemOf(1, await coded({ codec: 'hevc', chroma: 'grey' }))]));
}

describe('The gamma of a PNG', () => {
  const gAMA = (gamma: number) => pngChunk('gAMA', u32(Math.round(100_000 * gamma)));
  const cHRM = (...xy: number[]) => pngChunk('cHRM', Buffer.concat(xy.map((value) => u32(value * 100_000))));
  const p3 = cHRM(0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06);
  const colour: Colour = [0.7, 0.3, 0.2];
  const asItIs: Colour = [179, 77, 51];

  it('counts, in grey too', async () => {
    assertColours([await seen(await png(colour, gAMA(1)))], [[218, 149, 124]], 1);
    assertColours([await seen(await greyPng(0.5, gAMA(1)))], [greyOf(188)], 1);
  });

  it('counts with its primaries, as those of cICP do', async () => {
    const expected = await seen(await png(colour, cicp(12, 13, 0, 1)));
    assertColours([await seen(await png(colour, gAMA(0.45455), p3))], [expected], 1);
  });

  it('does not count beside sRGB, nor where it or its primaries can be none, nor do primaries alone', async () => {
    const sRGB = pngChunk('sRGB', Buffer.from([0]));
    const none = cHRM(0, 0, 0, 0, 0, 0, 0, 0);
    for (const chunks of [[sRGB, gAMA(1)], [gAMA(0)], [gAMA(1), none], [p3]])
      assertColours([await seen(await png(colour, ...chunks))], [asItIs], 1);
  });
});

/** One grey of 16 bits, with chunks before the pixels. */
async function greyPng(code: number, ...chunks: Buffer[]): Promise<Buffer> {
  const row = new Uint16Array(64 * 64).fill(Math.round(code * 65_535));
  const file = await sharp(row, { raw: { width: 64, height: 64, channels: 1 } })
    .toColourspace('grey16')
    .png()
    .toBuffer();
  return Buffer.concat([file.subarray(0, 33), ...chunks, file.subarray(33)]);
}
