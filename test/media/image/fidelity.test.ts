import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import { cmykWithoutProfile, picture, ultraHdr, type PictureOptions } from '../../support/pictures.ts';
import { assertColours, quartersOf, shapes, variantsOf, seenUpright } from '../../support/variants.ts';

const make = async (options: PictureOptions) => variantsOf(await picture(options));

describe('Orientation', () => {
  for (const [orientation, colours] of Object.entries(seenUpright)) {
    for (const format of ['jpeg', 'png', 'webp'] as const) {
      it(`${orientation} of a ${format} is made upright`, async () => {
        const { source, variants } = await make({ width: 900, height: 600, format, orientation: Number(orientation) });
        const turned = Number(orientation) >= 5;
        assert.equal(`${source.width}x${source.height}`, turned ? '600x900' : '900x600');
        assert.equal(shapes(variants), turned ? 'display 600x900, thumb 400x600' : 'display 900x600, thumb 400x267');
        for (const { data } of variants) assertColours(await quartersOf(data), colours, 25);
      });
    }
  }
});

describe('Metadata', () => {
  for (const format of ['jpeg', 'png', 'webp', 'avif'] as const) {
    it(`of a ${format} does not leave with the pictures: no place, no name, no profile`, async () => {
      const file = await picture({ format, gps: true, profile: 'p3', orientation: 6, width: 900, height: 600 });
      const meta = await sharp(file).metadata();
      assert.ok(meta.exif && meta.xmp && meta.icc && file.includes('Ada Canary'), 'the original has all of it');
      for (const { data } of (await variantsOf(file)).variants) {
        const chunks = webpChunks(data);
        assert.ok(
          chunks.length > 0 && chunks.every((name) => ['VP8X', 'VP8 ', 'VP8L', 'ALPH'].includes(name)),
          chunks.join(),
        );
        assert.ok(!data.includes('Ada Canary'));
      }
    });
  }

  /** https://developers.google.com/speed/webp/docs/riff_container */
  function webpChunks(file: Buffer): string[] {
    const names = [];
    for (let at = 12; at < file.length; at += 8 + 2 * Math.ceil(file.readUInt32LE(at + 4) / 2))
      names.push(file.toString('latin1', at, at + 4));
    return names;
  }
});

describe('Colour', () => {
  const orange = [200, 60, 40];
  const cases: [what: string, options: PictureOptions, tolerance: number][] = [
    ['sRGB', {}, 8],
    ['Display P3', { profile: 'p3' }, 8],
    ['Display P3 in a PNG', { profile: 'p3', format: 'png' }, 8],
    ['Display P3 in an AVIF', { profile: 'p3', format: 'avif' }, 8],
    ['16 bits', { deep: true, format: 'png' }, 8],
    ['16 bits in Display P3', { deep: true, profile: 'p3', format: 'png' }, 8],
    ['16 bits with alpha', { deep: true, alpha: true, format: 'png' }, 8],
    ['CMYK with a profile', { profile: 'cmyk' }, 25],
  ];
  for (const [what, options, tolerance] of cases) {
    it(`${what} becomes sRGB`, async () => {
      const { variants } = await make({ ...options, colour: '#c83c28' });
      for (const { data } of variants) assertColours(await quartersOf(data), [orange], tolerance);
    });
  }

  it('CMYK without a profile becomes sRGB', async () => {
    const { variants } = await variantsOf(await cmykWithoutProfile('#c83c28'));
    assertColours(await quartersOf(variants[0]!.data), [orange], 30);
  });

  it('an HDR photograph becomes what it shows on an ordinary screen', async () => {
    const file = await ultraHdr();
    const { variants } = await variantsOf(file);
    assertColours(await quartersOf(variants[0]!.data), await quartersOf(file));
  });

  it('grey stays grey', async () => {
    const { variants } = await make({ grey: true, colour: '#808080', format: 'png', deep: true });
    assertColours(await quartersOf(variants[0]!.data), [[128, 128, 128]]);
  });
});
