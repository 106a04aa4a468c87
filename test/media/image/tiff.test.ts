import assert from 'node:assert/strict';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import sharp, { type TiffOptions as SharpTiff } from 'sharp';
import { checkStructure } from '../../../worker/media/image/structure/check.ts';
import { optimised } from '../../support/optimised.ts';
import { blue, green, picture, red, white, type PictureOptions } from '../../support/pictures.ts';
import { tiff, type TiffOptions } from '../../support/tiffs.ts';
import { assertColours, quartersOf, seenUpright, variantsOf } from '../../support/variants.ts';

const quarters = [red, green, blue, white];
const grey = quarters.map(([, g]) => [g, g, g]);

describe('A TIFF', () => {
  const kinds: [what: string, options: TiffOptions, colours?: (readonly number[])[]][] = [
    ['in strips', {}],
    ['in one strip', { rowsPerStrip: 4_294_967_295 }],
    ['in tiles', { tile: 16 }],
    ['big endian', { endian: 'big' }],
    ['big endian, 16 bits', { endian: 'big', bits: 16 }],
    ['16 bits, in tiles', { bits: 16, tile: 16 }],
    ['BigTIFF', { big: true }],
    ['BigTIFF, big endian, in tiles', { big: true, endian: 'big', tile: 16 }],
    ['Deflate', { deflate: true }],
    ['with a plane for each channel', { planar: true }],
    ['with a plane for each channel, 16 bits', { planar: true, bits: 16 }],
    ['palette', { photometric: 3 }],
    ['grey', { photometric: 1 }, grey],
    ['grey where white is 0', { photometric: 0 }, grey],
    ['grey, 16 bits', { photometric: 1, bits: 16 }, grey],
    ['of many pages', { pages: 12 }],
  ];
  for (const [what, options, colours = quarters] of kinds)
    it(`is read: ${what}`, async () => {
      const file = tiff(options);
      const { source, variants } = await variantsOf(file);
      const { format, width, height, bytes, pages } = source;
      assert.deepEqual([format, width, height, bytes, pages], ['tiff', 40, 30, file.length, options.pages ?? 1]);
      assertColours(await quartersOf(variants[0]!.data), colours, 25);
      const { main } = await optimised(file);
      assert.equal(main.format, 'jpeg');
      assertColours(await quartersOf(main.data), colours, 30);
    });

  const compressed: [what: string, options: SharpTiff, of?: PictureOptions][] = [
    ['uncompressed', { compression: 'none' }],
    ['LZW', { compression: 'lzw' }],
    ['LZW with a predictor', { compression: 'lzw', predictor: 'horizontal' }],
    ['LZW in tiles', { compression: 'lzw', tile: true }],
    [
      'Deflate with a predictor, 16 bits',
      { compression: 'deflate', predictor: 'horizontal' },
      { deep: true, format: 'png' },
    ],
    ['PackBits', { compression: 'packbits' }],
    ['JPEG', { compression: 'jpeg', quality: 90 }],
    ['JPEG in tiles', { compression: 'jpeg', quality: 90, tile: true }],
    ['a pyramid, of which the first is the largest', { compression: 'deflate', pyramid: true, tile: true }],
  ];
  for (const [what, options, of = {}] of compressed)
    it(`is read, as libtiff writes it: ${what}`, async () => {
      const file = await sharp(await picture(of))
        .toColourspace(of.deep ? 'rgb16' : 'srgb')
        .tiff(options)
        .toBuffer();
      const { source, variants } = await variantsOf(file);
      assert.deepEqual([source.width, source.height], [400, 300]);
      assertColours(await quartersOf(variants[0]!.data), quarters, 25);
    });

  for (const compression of ['none', 'ccittfax4', 'lzw'] as const)
    it(`of one bit is read, as scanners write it: ${compression}`, async () => {
      const row = Buffer.alloc(40).fill(255, 20);
      const raw = { width: 40, height: 30, channels: 1 } as const;
      const page = sharp(Buffer.concat(Array<Buffer>(30).fill(row)), { raw }).toColourspace('b-w');
      const file = await page.tiff({ bitdepth: 1, compression, predictor: 'none' }).toBuffer();
      const { main } = await optimised(file);
      const [black, paper] = [
        [0, 0, 0],
        [255, 255, 255],
      ];
      assertColours(await quartersOf(main.data), [black, paper, black, paper] as number[][], 25);
    });

  it('in CMYK becomes sRGB, with a profile and without', async () => {
    const orange = [200, 60, 40];
    const cmyk = sharp({ create: { width: 40, height: 30, channels: 3, background: '#c83c28' } }).toColourspace('cmyk');
    for (const file of [
      await cmyk.clone().tiff().toBuffer(),
      await cmyk.clone().withIccProfile('cmyk').tiff().toBuffer(),
    ]) {
      const { main } = await optimised(file);
      assertColours(await quartersOf(main.data), [orange], 30);
    }
  });

  for (const alpha of [1, 2, 0] as const)
    it(`with alpha of kind ${alpha} is a WebP that is as see-through, of the same colours`, async () => {
      const { source, main } = await optimised(tiff({ alpha }));
      assert.deepEqual([source.has_alpha, main.format], [true, 'webp']);
      const seen = await quartersOf(main.data);
      assertColours(seen, quarters, 25);
      assertColours(
        seen.map(([, , , a]) => [a!]),
        [[255], [128], [255], [128]],
        2,
      );
    });

  for (const [orientation, colours] of Object.entries(seenUpright))
    it(`of orientation ${orientation} is made upright`, async () => {
      for (const tile of [undefined, 16]) {
        const { source, main } = await optimised(tiff({ orientation: Number(orientation), ...(tile ? { tile } : {}) }));
        assert.deepEqual([source.width, source.height], Number(orientation) >= 5 ? [30, 40] : [40, 30]);
        assertColours(await quartersOf(main.data), colours, 30);
      }
    });

  it('tells nothing of where it was made', async () => {
    const file = await sharp(await picture({ gps: true }))
      .keepMetadata()
      .tiff()
      .toBuffer();
    assert.ok(file.includes('GPSLatitude'));
    const { main } = await optimised(file);
    assert.ok(!main.data.includes('GPSLatitude'));
    assert.equal((await sharp(main.data).metadata()).exif, undefined);
  });
});

describe('A TIFF of an unsupported kind says which', () => {
  const kinds: [what: string, options: TiffOptions, words: RegExp][] = [
    ['WebP inside', { tags: [[259, 3, [50_001]]] }, /compressed by WebP/],
    ['Zstandard', { tags: [[259, 3, [50_000]]] }, /compressed by Zstandard/],
    ['old-style JPEG', { tags: [[259, 3, [6]]] }, /compressed by old-style JPEG/],
    ['a compression nobody knows', { tags: [[259, 3, [4711]]] }, /compressed by number 4711/],
    ['32 bits', { tags: [[258, 3, [32, 32, 32]]] }, /32, 32, 32 bits/],
    ['floating point', { tags: [[339, 3, [3]]] }, /not integers/],
    ['raw sensor data', { tags: [[262, 3, [32_803]]] }, /photometric interpretation 32803/],
    ['a preview first, as in raw files', { tags: [[254, 4, [1]]] }, /preview/],
    ['40 channels', { tags: [[277, 3, [40]]] }, /40 channels/],
  ];
  for (const [what, options, message] of kinds)
    it(what, async () => {
      await assert.rejects(optimised(tiff(options)), { code: 'unsupported_image_format', message });
    });
});

describe('A TIFF that attacks', () => {
  let dir: string;
  before(async () => void (dir = await mkdtemp(join(tmpdir(), 'rowmill-tiff-'))));
  after(() => rm(dir, { recursive: true }));

  const tooLarge: [what: string, file: () => Buffer, message: RegExp][] = [
    [
      '10^6 x 10^6 pixels',
      () =>
        tiff({
          tags: [
            [256, 4, [1e6]],
            [257, 4, [1e6]],
          ],
        }),
      /The TIFF has 1000000 x 1000000 pixels/,
    ],
    [
      'one strip of 400 megabytes',
      () =>
        tiff({
          planar: true,
          rowsPerStrip: 1e9,
          tags: [
            [256, 4, [12_000]],
            [257, 4, [11_000]],
          ],
        }),
      /needs about/,
    ],
    [
      'tiles of 2 gigabytes',
      () =>
        tiff({
          tile: 16,
          tags: [
            [322, 4, [32_768]],
            [323, 4, [16_384]],
          ],
        }),
      /tile of the TIFF has 32768 x 16384/,
    ],
    ['6,000 pages', () => tiff({ pages: 6_000 }), /more than 5,000 pages/],
    [
      '2,000 tags',
      () => tiff({ tags: Array.from({ length: 2_000 }, (_, n) => [40_000 + n, 3, [1]]) }),
      /more than 1,000 tags/,
    ],
    ['a tag of 30 megabytes', () => hugeTag(30_000_000, 1), /more than 20 MB of metadata/],
    ['40 pages with the same tag of 1 MB', () => hugeTag(1_000_000, 40), /more than 20 MB of metadata/],
  ];
  for (const [what, file, message] of tooLarge)
    it(`is refused before it costs anything: ${what}`, async () => {
      const started = performance.now();
      await assert.rejects(optimised(file()), { code: 'image_too_large', message });
      assert.ok(performance.now() - started < 5_000);
    });

  it('with directories in a circle ends', async () => {
    const { source, main } = await optimised(tiff({ pages: 3, loop: true }));
    assert.equal(source.pages, 3);
    assertColours(await quartersOf(main.data), quarters, 30);
  });

  const lies: [what: string, options: TiffOptions][] = [
    ['no pixels', { tags: [[256, 4, [0]]] }],
    ['strips of no length', { tags: [[279, 4, [0, 0, 0, 0]]] }],
    [
      'a strip too few',
      {
        tags: [
          [273, 4, [8]],
          [279, 4, [960]],
        ],
      },
    ],
    ['tiles of no size', { tile: 16, tags: [[322, 4, [0]]] }],
    ['Deflate that is none', { tags: [[259, 3, [8]]] }],
    ['LZW that is none', { tags: [[259, 3, [5]]] }],
    ['JPEG that is none', { tags: [[259, 3, [7]]] }],
  ];
  for (const [what, options] of lies)
    it(`or says of itself what is not so is damaged: ${what}`, async () => {
      await assert.rejects(optimised(tiff(options)), { name: 'PermanentError', code: 'image_corrupt' });
    });

  it('cut off anywhere is cut off, or nothing is missing', async () => {
    for (const options of [{}, { tile: 16 }, { big: true, endian: 'big' }, { deflate: true }] as const) {
      const whole = tiff(options);
      for (let length = 8; length < whole.length; length += 97)
        await assert.rejects(optimised(whole.subarray(0, length)), { code: 'media_truncated' }, `${length} bytes`);
    }
  });

  it('is judged in no time, whatever bytes are changed', async () => {
    const path = join(dir, 'changed');
    const whole = tiff({ tile: 16, pages: 3 });
    const directory = whole.readUInt32LE(4);
    let state = 1;
    const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8;
    for (let round = 0; round < 300; round++) {
      const file = Buffer.from(whole);
      for (let n = 0; n < 4; n++) file[directory + (random() % (file.length - directory))] = random() & 255;
      await writeFile(path, file);
      await checkStructure(path, 'tiff').catch((error: Error) =>
        assert.equal(error.name, 'PermanentError', error.stack),
      );
    }
    await truncate(path, 0);
  });

  /** With a tag, the same one on each page, of as many bytes. */
  function hugeTag(bytes: number, pages: number): Buffer {
    const file = tiff({ pages, tags: [[700, 1, [1]]] });
    const at = file.indexOf(Buffer.from([0xbc, 2, 1, 0, 1, 0, 0, 0]));
    for (let entry = at; entry >= 0; entry = file.indexOf(Buffer.from([0xbc, 2, 1, 0, 1, 0, 0, 0]), entry + 1)) {
      file.writeUInt32LE(bytes, entry + 4);
      file.writeUInt32LE(file.length, entry + 8);
    }
    return Buffer.concat([file, Buffer.alloc(bytes)]);
  }
});
