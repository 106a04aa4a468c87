import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import exifreader from 'exifreader';
import sharp from 'sharp';
import { thumbHashToAverageRGBA, thumbHashToApproximateAspectRatio } from 'thumbhash';
import { slow } from '../../support/everything.ts';
import {
  animated,
  animatedPng,
  blue,
  cmykWithoutProfile,
  green,
  picture,
  red,
  ultraHdr,
  white,
  withIptc,
  type PictureOptions,
} from '../../support/pictures.ts';
import { filesOf, optimised } from '../../support/optimised.ts';
import { assertColours, quartersOf, seenUpright } from '../../support/variants.ts';

const make = async (options: PictureOptions) => optimised(await picture(options));
const quarters = [red, green, blue, white];

describe('The picture to show', () => {
  const families: [input: NonNullable<PictureOptions['format']>, output: string][] = [
    ['jpeg', 'jpeg'],
    ['png', 'png'],
    ['webp', 'webp'],
    ['gif', 'webp'],
    ['avif', 'webp'],
  ];
  for (const [format, output] of families) {
    it(`of a ${format} is a ${output} that says what it is`, async () => {
      const file = await picture({ format, width: 700, height: 500 });
      const { source, main } = await optimised(file);
      assert.deepEqual(source, {
        format,
        width: 700,
        height: 500,
        bytes: file.length,
        orientation: 1,
        pages: 1,
        has_alpha: format === 'gif',
      });
      const meta = await sharp(main.data).metadata();
      assert.deepEqual(
        [main.format, main.width, main.height, main.bytes, main.content_type],
        [meta.format, meta.width, meta.height, main.data.length, `image/${output}`],
      );
      assert.deepEqual([output, 700, 500], [main.format, main.width, main.height]);
      assertColours(await quartersOf(main.data), quarters, 25);
    });
  }

  const sizes: [width: number, height: number, main: string, thumbnail: string][] = [
    [3000, 1500, '2048x1024', '200x200'],
    [1500, 3000, '1024x2048', '200x200'],
    [2048, 2048, '2048x2048', '200x200'],
    [300, 100, '300x100', '200x100'],
    [100, 80, '100x80', '100x80'],
    [1, 1, '1x1', '1x1'],
    [1, 5000, '1x2048', '1x200'],
    [5000, 2, '2048x1', '200x1'],
  ];
  for (const [width, height, main, thumbnail] of sizes) {
    it(`of ${width} x ${height} has ${main}, its thumbnail ${thumbnail}`, async () => {
      const made = await make({ width, height });
      const shape = (file: { width: number; height: number }) => `${file.width}x${file.height}`;
      assert.deepEqual([shape(made.main), shape(made.thumbnail)], [main, thumbnail]);
      for (const { data, ...file } of filesOf(made)) assert.equal(shape(await sharp(data).metadata()), shape(file));
    });
  }

  it('comes with copies in other formats, each once, and none of its own', async () => {
    const file = await picture({ format: 'webp', alpha: true });
    const { main, copies } = await optimised(file, { formats: ['webp', 'avif', 'avif'] });
    assert.deepEqual([main.format, copies.map(({ format }) => format)], ['webp', ['avif']]);
    for (const { data } of [main, ...copies]) {
      const seen = await quartersOf(data);
      assertColours([seen[0]!, seen[2]!], [red, blue], 15);
      assert.deepEqual(
        seen.map((colour) => colour[3]),
        [255, 0, 255, 0],
      );
    }
  });
});

describe('Orientation', () => {
  for (const [orientation, colours] of Object.entries(seenUpright)) {
    it(`${orientation} is made upright in all that is made`, async () => {
      const file = await picture({ width: 600, height: 400, orientation: Number(orientation) });
      const made = await optimised(file, { formats: ['webp', 'avif'] });
      assert.equal(made.source.orientation, Number(orientation));
      const upright = Number(orientation) >= 5 ? [400, 600] : [600, 400];
      assert.deepEqual([made.source.width, made.source.height], upright);
      assert.deepEqual([made.main.width, made.main.height], upright);
      for (const { data } of filesOf(made)) assertColours(await quartersOf(data), colours, 25);
    });
  }
});

describe('Colour', () => {
  const orange = [200, 60, 40];
  const cases: [what: string, file: () => Promise<Buffer>, tolerance: number][] = [
    ['Display P3', () => picture({ profile: 'p3', colour: '#c83c28' }), 8],
    ['Display P3 in a PNG', () => picture({ profile: 'p3', format: 'png', colour: '#c83c28' }), 4],
    ['CMYK with a profile', () => picture({ profile: 'cmyk', colour: '#c83c28' }), 25],
    ['CMYK without a profile', () => cmykWithoutProfile('#c83c28'), 30],
    ['16 bits', () => picture({ deep: true, format: 'png', colour: '#c83c28' }), 4],
    ['16 bits in Display P3', () => picture({ deep: true, profile: 'p3', format: 'png', colour: '#c83c28' }), 4],
  ];
  for (const [what, file, tolerance] of cases) {
    it(`${what} becomes sRGB without a profile`, async () => {
      const made = await optimised(await file(), { formats: ['webp'] });
      for (const { data } of filesOf(made)) {
        assertColours(await quartersOf(data), [orange], tolerance);
        const { icc, depth, channels } = await sharp(data).metadata();
        assert.deepEqual([icc, depth, channels], [undefined, 'uchar', 3]);
      }
    });
  }

  for (const options of [{ format: 'jpeg' }, { format: 'png' }, { format: 'png', deep: true }] as const) {
    it(`grey stays grey: ${Object.values(options).join(' ')}`, async () => {
      const made = await optimised(await picture({ ...options, grey: true, colour: '#808080' }), { formats: ['avif'] });
      for (const { data } of filesOf(made)) assertColours(await quartersOf(data), [[128, 128, 128]], 4);
      const { r, g, b } = thumbHashToAverageRGBA(Buffer.from(made.thumbhash, 'base64'));
      for (const value of [r, g, b]) assert.ok(Math.abs(value - 0.5) < 0.05, `${r} ${g} ${b}`);
    });
  }

  it('an HDR photograph becomes what it shows on an ordinary screen', async () => {
    const file = await ultraHdr();
    const { main } = await optimised(file);
    assertColours(await quartersOf(main.data), await quartersOf(file));
  });
});

describe('What is see-through', () => {
  for (const options of [
    { format: 'png' },
    { format: 'png', palette: true },
    { format: 'png', deep: true },
    { format: 'png', grey: true },
    { format: 'webp' },
    { format: 'avif' },
    { format: 'gif' },
  ] as const) {
    it(`stays so: ${Object.values(options).join(' ')}`, async () => {
      const made = await make({ ...options, alpha: true });
      assert.equal(made.source.has_alpha, true);
      for (const { data } of filesOf(made)) {
        const alphas = (await quartersOf(data)).map((colour) => colour[3]);
        assert.deepEqual(alphas, [255, 0, 255, 0]);
      }
      assert.ok(Math.abs(thumbHashToAverageRGBA(Buffer.from(made.thumbhash, 'base64')).a - 0.5) < 0.05);
    });
  }
});

describe('An animation', () => {
  for (const format of ['gif', 'webp'] as const) {
    it(`in ${format} goes on moving, and its thumbnail and its copies show how it begins`, async () => {
      const made = await optimised(await animated(format), { formats: ['avif'] });
      const { pages, delay, width, pageHeight, height } = await sharp(made.main.data).metadata();
      assert.deepEqual([made.source.pages, made.main.format, pages], [2, 'webp', 2]);
      assert.deepEqual([width, pageHeight ?? height], [made.main.width, made.main.height]);
      if (format === 'gif') assert.deepEqual(delay, [100, 100]);
      for (const { data } of filesOf(made)) assertColours(await quartersOf(data), quarters, 25);
      for (const { data } of [made.thumbnail, ...made.copies])
        assert.equal((await sharp(data).metadata()).pages ?? 1, 1, 'a still');
    });
  }

  it('in PNG becomes the still that it also is', async () => {
    const made = await optimised(await animatedPng());
    assert.deepEqual([made.source.pages, made.main.format], [1, 'png']);
    assertColours(await quartersOf(made.main.data), quarters);
  });

  slow('that is very long becomes a still', async () => {
    const frames = await sharp({ create: { width: 1000, height: 1000 * 41, channels: 3, background: '#c83c28' } })
      .raw()
      .toBuffer();
    const raw = { width: 1000, height: 1000 * 41, channels: 3, pageHeight: 1000 } as const;
    const file = await sharp(frames, { raw }).composite([]).gif({ effort: 1, keepDuplicateFrames: true }).toBuffer();
    const { source, main } = await optimised(file);
    assert.equal(source.pages, 41);
    assert.equal((await sharp(main.data).metadata()).pages ?? 1, 1);
    assertColours(await quartersOf(main.data), [[200, 60, 40]]);
  });
});

describe('The ThumbHash', () => {
  it('has the shape and the colour of the picture', async () => {
    const { thumbhash } = await make({ width: 800, height: 400, colour: '#c83c28' });
    const hash = Buffer.from(thumbhash, 'base64');
    assert.ok(hash.length <= 25 && hash.toString('base64') === thumbhash);
    const { r, g, b, a } = thumbHashToAverageRGBA(hash);
    assertColours([[r * 255, g * 255, b * 255, a * 255]], [[200, 60, 40, 255]], 15);
    assert.ok(Math.abs(thumbHashToApproximateAspectRatio(hash) - 2) < 0.6);
  });
});

describe('Metadata', () => {
  for (const format of ['jpeg', 'png', 'webp', 'avif'] as const) {
    it(`of a ${format} does not leave with the pictures: no place, no name, no profile`, async () => {
      const plain = await picture({ format, gps: true, profile: 'p3', orientation: 6 });
      const file = format === 'jpeg' ? withIptc(plain, 'Ada Canary, Berlin') : plain;
      assert.deepEqual(tellingTags(file).includes('GPSLatitude'), true, 'the original says where it was taken');
      if (format === 'jpeg') assert.ok(tellingTags(file).includes('City'), 'and in IPTC too');
      const made = await optimised(file, { formats: ['webp', 'avif'] });
      assert.equal(filesOf(made).length, format === 'webp' || format === 'avif' ? 3 : 4);
      for (const { data, format: output } of filesOf(made)) {
        assert.deepEqual(tellingTags(data), [], output);
        assert.ok(!data.includes('Canary'), output);
        const { exif, xmp, iptc, icc } = await sharp(data).metadata();
        assert.deepEqual([exif, xmp, iptc, icc], [undefined, undefined, undefined, undefined], output);
      }
    });
  }

  /** The names of all that exifreader finds in EXIF, GPS, IPTC, XMP and ICC. */
  function tellingTags(file: Buffer): string[] {
    const { exif, gps, iptc, xmp, icc } = exifreader.load(file, { expanded: true });
    return [exif, gps, iptc, xmp, icc].flatMap((group) => Object.keys(group ?? {}));
  }
});
