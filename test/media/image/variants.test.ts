import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import { createMemoryGate, type MemoryGate } from '../../../worker/media/memory.ts';
import {
  animated,
  animatedPng,
  blue,
  green,
  picture,
  red,
  white,
  type PictureOptions,
} from '../../support/pictures.ts';
import { assertColours, quartersOf, shapes, variantsOf } from '../../support/variants.ts';

const make = async (options: PictureOptions) => variantsOf(await picture(options));

describe('Variants', () => {
  it('are WebP files of the sizes asked for, wide to narrow, with the source described', async () => {
    const file = await picture({ width: 3000, height: 2000 });
    const { source, variants } = await variantsOf(file);
    assert.deepEqual(source, {
      format: 'jpeg',
      width: 3000,
      height: 2000,
      bytes: file.length,
      orientation: 1,
      pages: 1,
      has_alpha: false,
    });
    assert.equal(shapes(variants), 'display 1600x1067, thumb 400x267');
    for (const { data, bytes, content_type, width, height } of variants) {
      const meta = await sharp(data).metadata();
      assert.deepEqual(
        [meta.format, meta.width, meta.height, content_type, bytes],
        ['webp', width, height, 'image/webp', data.length],
      );
      assertColours(await quartersOf(data), [red, green, blue, white]);
    }
  });

  it('are never larger than the original', async () => {
    assert.equal(shapes((await make({ width: 900, height: 600 })).variants), 'display 900x600, thumb 400x267');
    assert.equal(shapes((await make({ width: 300, height: 200 })).variants), 'display 300x200, thumb 300x200');
    assert.equal(shapes((await make({ width: 1, height: 1 })).variants), 'display 1x1, thumb 1x1');
  });

  it('can be three or more, each made from the one before', async () => {
    const sizes = [
      { name: 'l', width: 800 },
      { name: 'm', width: 200 },
      { name: 's', width: 50 },
    ] as const;
    const { variants } = await variantsOf(await picture({ width: 1000, height: 800 }), { sizes });
    assert.equal(shapes(variants), 'l 800x640, m 200x160, s 50x40');
    assertColours(await quartersOf(variants[2]!.data), [red, green, blue, white]);
  });

  const extremes: [width: number, height: number, shape: string][] = [
    [1000, 40_000, 'display 410x16383, thumb 400x15983'],
    [30_000, 20, 'display 1600x1, thumb 400x1'],
    [2, 30_000, 'display 1x16383, thumb 1x16383'],
    [1600, 16_383, 'display 1600x16383, thumb 400x4096'],
  ];
  for (const [width, height, shape] of extremes) {
    it(`fit into what WebP can hold, for a picture of ${width} x ${height}`, async () => {
      assert.equal(shapes((await make({ width, height })).variants), shape);
    });
  }
});

describe('What is see-through', () => {
  for (const options of [
    { format: 'png' },
    { format: 'png', palette: true },
    { format: 'png', grey: true },
    { format: 'webp' },
    { format: 'avif' },
  ] as const) {
    it(`stays so: ${Object.values(options).join(' ')}`, async () => {
      const { source, variants } = await make({ ...options, alpha: true, width: 800, height: 600 });
      assert.equal(source.has_alpha, true);
      for (const { data } of variants) {
        const alphas = (await quartersOf(data)).map((colour) => colour[3]);
        assert.deepEqual(alphas, [255, 0, 255, 0]);
      }
    });
  }
});

describe('Of an animation', () => {
  for (const [name, file, pages] of [
    ['GIF', animated('gif'), 2],
    ['WebP', animated('webp'), 2],
    ['PNG', animatedPng(), 1],
  ] as const) {
    it(`in ${name} the first frame is taken`, async () => {
      const { source, variants } = await variantsOf(await file);
      assert.equal(source.pages, pages);
      assert.equal(shapes(variants), 'display 400x300, thumb 400x300');
      assertColours(await quartersOf(variants[0]!.data), [red, green, blue, white], 20);
      assert.equal((await sharp(variants[0]!.data).metadata()).pages, undefined, 'a still');
    });
  }
});

describe('Every kind of a format', () => {
  const kinds: PictureOptions[] = [
    { progressive: true },
    { grey: true },
    { format: 'png', progressive: true },
    { format: 'png', palette: true, progressive: true },
    { format: 'png', deep: true, alpha: true, progressive: true },
    { format: 'webp', lossless: true },
    { format: 'gif' },
    { format: 'avif' },
  ];
  for (const options of kinds) {
    it(`is read: ${JSON.stringify(options)}`, async () => {
      const { source, variants } = await make({ ...options, width: 700, height: 500 });
      assert.equal(source.format, options.format ?? 'jpeg');
      if (!options.grey) assertColours(await quartersOf(variants[1]!.data), [red], 25);
    });
  }
});

describe('An abort', () => {
  const never = new AbortController().signal;

  it('is heeded while the picture waits for memory', async () => {
    const caller = new AbortController();
    const memory = createMemoryGate({ bytes: 100e6, slots: 1 });
    const ahead = Promise.withResolvers<void>();
    const first = memory.run(1, never, () => ahead.promise);
    const waiting = assert.rejects(variantsOf(await picture(), { memory, signal: caller.signal }), { message: 'stop' });
    caller.abort(new Error('stop'));
    await waiting;
    ahead.resolve();
    await first;
  });

  it('is heeded after the step that runs, and frees the memory', async () => {
    const caller = new AbortController();
    const gate = createMemoryGate({ bytes: 100e6, slots: 1 });
    const whileDecoding: MemoryGate = {
      ...gate,
      run: (need, signal, work) =>
        gate.run(need, signal, (bytes) => {
          const done = work(bytes);
          caller.abort(new Error('stop'));
          return done;
        }),
    };
    const file = await picture({ width: 3000, height: 2000 });
    await assert.rejects(variantsOf(file, { memory: whileDecoding, signal: caller.signal }), { message: 'stop' });
    assert.equal(await gate.run(100e6, never, async () => 'free'), 'free');
  });
});
