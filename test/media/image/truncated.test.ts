import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import { animated, picture, red, truncated, type PictureOptions } from '../../support/pictures.ts';
import { optimised } from '../../support/optimised.ts';
import { assertColours, quartersOf, variantsOf } from '../../support/variants.ts';

// Pictures whose file ends too early: what is whole is delivered, what is not is refused, or delivered as far as it
// goes.

const refused = { name: 'PermanentError', code: 'media_truncated' };

describe('A file that lacks no more than its end mark is delivered whole, and says that it was cut', () => {
  const marks: [what: string, options: PictureOptions, bytes: number][] = [
    ['a JPEG without EOI', {}, 2],
    ['a JPEG without half of EOI', {}, 1],
    ['a progressive JPEG without EOI', { progressive: true }, 2],
    ['a grey JPEG without EOI', { grey: true }, 2],
    ['a PNG without IEND', { format: 'png' }, 12],
    ['a GIF without its trailer', { format: 'gif' }, 1],
  ];
  for (const [what, options, bytes] of marks)
    it(what, async () => {
      const whole = await picture({ ...options, photo: true });
      const { source, main } = await optimised(whole.subarray(0, -bytes));
      assert.deepEqual([source.truncated, source.bytes], [true, whole.length - bytes]);
      assert.deepEqual(main.data, (await optimised(whole)).main.data);
    });

  it('and a WebP without the byte that pads its last chunk is not cut', async () => {
    const whole = await sharp(await picture())
      .webp({ lossless: true })
      .toBuffer();
    const odd = whole.readUInt32LE(whole.indexOf('VP8L') + 4) % 2 === 1;
    const { source } = await optimised(odd ? whole.subarray(0, -1) : whole);
    assert.equal(source.truncated, undefined);
  });
});

describe('A picture that lost a part of itself', () => {
  const kinds: [what: string, options: PictureOptions, share?: number][] = [
    ['a JPEG', {}],
    ['a JPEG that lost its last row', {}, 0.99],
    ['a progressive JPEG', { progressive: true }, 0.7],
    ['a PNG', { format: 'png' }],
    ['a GIF', { format: 'gif' }],
    ['a WebP', { format: 'webp' }, 0.7],
    ['a lossless WebP', { format: 'webp', lossless: true }, 0.7],
  ];
  for (const [what, options, share = 0.6] of kinds)
    it(`is refused, and by MEDIA_TRUNCATED=deliver delivered as far as it goes: ${what}`, async () => {
      const cut = truncated(await picture({ ...options, photo: true }), share);
      await assert.rejects(optimised(cut), refused);
      await assert.rejects(variantsOf(cut), refused);
      const { source, main } = await optimised(cut, { truncated: 'deliver' });
      const { source: same } = await variantsOf(cut, { truncated: 'deliver' });
      assert.deepEqual([source.truncated, same.truncated], [true, true]);
      const top = { left: 0, top: 0, width: 400, height: 60 };
      const seen = async (file: Buffer) =>
        (await sharp(await sharp(file).extract(top).png().toBuffer()).stats()).channels.map(({ mean }) => mean);
      const whole = await optimised(await picture({ ...options, photo: true }));
      const [there, all] = [await seen(main.data), await seen(whole.main.data)];
      for (const n of [0, 1, 2])
        assert.ok(Math.abs(there[n]! - all[n]!) < 6, `${there.join()} where ${all.join()} was`);
    });

  it('is refused whatever the setting where libvips shows no part of it', async () => {
    for (const options of [{ format: 'png', progressive: true }, { format: 'avif' }, { format: 'tiff' }] as const) {
      const cut = truncated(await picture({ ...options, photo: true }), 0.8);
      await assert.rejects(optimised(cut, { truncated: 'deliver' }), refused, options.format);
    }
  });

  it('is refused whatever the setting when nothing of it can be shown', async () => {
    for (const format of ['jpeg', 'png', 'gif', 'avif', 'tiff'] as const) {
      const cut = (await picture({ format, photo: true })).subarray(0, 40);
      await assert.rejects(optimised(cut, { truncated: 'deliver' }), refused, format);
    }
  });
});

describe('An animation that is cut off', () => {
  for (const format of ['gif', 'webp'] as const)
    it(`is refused as one, and delivered by the setting: ${format}`, async () => {
      const whole = await animated(format);
      const cut = whole.subarray(0, -20);
      await assert.rejects(optimised(cut), refused);
      const { source, main } = await optimised(cut, { truncated: 'deliver' });
      assert.equal(source.truncated, true);
      assertColours(await quartersOf(main.data), [red], 25);
      const { source: still } = await variantsOf(cut);
      assert.equal(still.truncated, true, 'its first frame is whole');
    });
});
