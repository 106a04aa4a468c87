import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { avifOf, box, codedItem, heifFile, icc, nclx, u16, u32, type HeifItem } from '../support/heif.ts';
import { optimised } from '../support/optimised.ts';
import { pngChunk } from '../support/pictures.ts';
import { assertColours, quartersOf, variantsOf } from '../support/variants.ts';

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

/** What ffmpeg makes of them by the filters that videos go through, but with the curve of sRGB: zscale and tonemap of 5.1. */
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
    const iccp = pngChunk('iCCP', Buffer.concat([Buffer.from('p3\0\0', 'latin1'), deflateSync(p3)]));
    assertColours([await seen(await png(colour, iccp))], [[200, 60, 40]], 4);
    assertColours([await seen(await png(colour, cicp(1, 13, 0, 1), iccp))], [[188, 71, 52]], 4);
  });

  it('and a range that is not full are stretched, even in grey', async () => {
    const file = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#101010' } })
      .toColourspace('b-w')
      .avif({ quality: 95 })
      .toBuffer();
    const item: HeifItem = codedItem(file);
    const dark = heifFile({
      brand: 'avif',
      items: [{ ...item, properties: [...item.properties, nclx(1, 13, 6, 'limited')] }],
    });
    assertColours([await seen(dark)], [[0, 0, 0]], 2);
  });
});
