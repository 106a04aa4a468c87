import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import sharp from 'sharp';
import { readHeif } from '../../../worker/media/image/heif/header.ts';
import { optimise } from '../../../worker/media/image/optimise.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import {
  alphaOf,
  box,
  clap,
  codedItem,
  full,
  grid,
  heifFile,
  imir,
  irot,
  ispe,
  nclx,
  u32,
  type HeifItem,
} from '../../support/heif.ts';
import { everything, unlessEverything } from '../../support/everything.ts';
import { ffmpeg } from '../../support/clips.ts';
import { optimised } from '../../support/optimised.ts';
import { blue, fixture, green, picture, red, white } from '../../support/pictures.ts';
import { assertColours, quartersOf, seenUpright, shapes, variantsOf } from '../../support/variants.ts';

const noDav1d = !(await ffmpeg.capabilities()).dav1d && 'this ffmpeg has no dav1d';

let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'rowmill-heif-'))));
after(() => rm(dir, { recursive: true }));

/** A picture of each codec in red and green above blue and white, and its size. */
const coded = {
  avif: async () => codedItem(await picture({ format: 'avif', width: 160, height: 120 })),
  heic: async () => codedItem(await fixture('deep')),
};

for (const brand of ['avif', 'heic'] as const)
  describe(`A hand-made ${brand.toUpperCase()}`, () => {
    const one = async (...properties: Buffer[]): Promise<HeifItem & { width: number; height: number }> => {
      const item = await coded[brand]();
      return { ...item, properties: [...item.properties, ...properties] };
    };
    const seen = async (file: Buffer) => {
      const made = await optimised(file);
      return { made, quarters: await quartersOf(made.main.data) };
    };

    it('shows its primary picture, which is not the first', async () => {
      const item = await one();
      const other = await one(irot(2));
      const { quarters } = await seen(heifFile({ brand, items: [other, item, other], primary: 2 }));
      assertColours(quarters, [red, green, blue, white], 20);
      const { variants } = await variantsOf(heifFile({ brand, items: [item, other], primary: 2 }));
      assertColours(await quartersOf(variants[0]!.data), [white, blue, green, red], 20);
    });

    for (const hidden of [true, false])
      it(`of ${hidden ? 'hidden' : 'unhidden'} tiles is put together`, async () => {
        const tile = { ...(await one()), hidden };
        const { width, height } = tile;
        const size = { width: 2 * width - 10, height: 2 * height - 6 };
        const whole = {
          type: 'grid',
          data: grid(2, 2, size.width, size.height),
          properties: [ispe(size.width, size.height)],
        };
        const references = [{ type: 'dimg', from: 5, to: [1, 2, 3, 4] }];
        const file = heifFile({ brand, items: [tile, tile, tile, tile, whole], primary: 5, references });
        const { made } = await seen(file);
        assert.deepEqual([made.source.width, made.source.height, made.source.pages], [size.width, size.height, 1]);
        assert.deepEqual([made.main.width, made.main.height], [size.width, size.height]);
        const { data, info } = await sharp(made.main.data).raw().toBuffer({ resolveWithObject: true });
        const at = (x: number, y: number) => [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)];
        const [x, y] = [width / 4, height / 4];
        for (const [left, top] of [
          [0, 0],
          [width, 0],
          [0, height],
          [width, height],
        ] as const)
          assertColours([at(left + x, top + y), at(left + 3 * x - 6, top + y)], [red, green], 20);
      });

    const turns: [orientation: keyof typeof seenUpright, ...properties: Buffer[]][] = [
      [1],
      [2, imir(1)],
      [3, irot(2)],
      [4, imir(0)],
      [5, irot(1), imir(0)],
      [6, irot(3)],
      [7, irot(1), imir(1)],
      [8, irot(1)],
    ];
    // A thread for each HEIC takes half a second.
    const few = brand === 'heic' && !everything ? turns.filter(([orientation]) => orientation > 6) : turns;
    for (const [orientation, ...properties] of few)
      it(`that is turned as EXIF's ${orientation} is made upright`, async () => {
        const item = await one(...properties);
        const { made, quarters } = await seen(heifFile({ brand, items: [item] }));
        const size = orientation >= 5 ? [item.height, item.width] : [item.width, item.height];
        assert.deepEqual([made.source.width, made.source.height], size);
        assert.deepEqual([made.main.width, made.main.height], size);
        assertColours(quarters, seenUpright[orientation], 20);
      });

    it('is cropped before it is turned', async () => {
      const item = await one();
      const [width, height] = [item.width / 2, item.height / 2];
      // The lower right quarter, white, with a margin of the others.
      const crop = clap(width + 8, height + 8, [width - 8, height - 8]);
      const { made, quarters } = await seen(
        heifFile({ brand, items: [{ ...item, properties: [...item.properties, crop, irot(1)] }] }),
      );
      assert.deepEqual([made.source.width, made.source.height], [height + 8, width + 8]);
      assert.deepEqual([made.main.width, made.main.height], [height + 8, width + 8]);
      assertColours(quarters, [white, white, white, white], 20);
    });

    it('is see-through where a picture beside it says so', async () => {
      const item = await one();
      const mask = { ...item, properties: [...item.properties, alphaOf()], hidden: true };
      const references = [{ type: 'auxl', from: 2, to: [1] }];
      const { made, quarters } = await seen(heifFile({ brand, items: [item, mask], references }));
      assert.deepEqual([made.source.has_alpha, made.main.format], [true, 'webp']);
      const [opaque, faint] = [quarters[3]![3]!, quarters[2]![3]!];
      assert.ok(opaque > 240 && faint < 70, `the alpha of white and of blue is ${opaque} and ${faint}`);
    });

    it('that is cut off is damaged for good', async () => {
      const file = heifFile({ brand, items: [await one()] });
      for (const share of [0.2, 0.7, 0.95])
        await assert.rejects(optimised(file.subarray(0, file.length * share)), { code: 'media_truncated' });
    });
  });

describe('A file of the HEIF family', () => {
  it('that holds a sequence and no still is refused by name', async () => {
    const ftyp = box('ftyp', Buffer.from('msf1\0\0\0\0msf1hevcheic', 'latin1'));
    const file = Buffer.concat([ftyp, box('moov', box('mvhd', Buffer.alloc(100))), box('mdat', Buffer.alloc(100))]);
    await assert.rejects(optimised(file), { code: 'unsupported_image_format', message: /sequence of frames/ });
  });

  it('that is animated becomes its still, and tells how many frames there are', async () => {
    const stsz = full('stsz', 0, 0, u32(0), u32(5), ...Array.from({ length: 5 }, () => u32(10)));
    const moov = box('moov', box('trak', box('mdia', box('minf', box('stbl', stsz)))));
    const file = heifFile({ brand: 'avis', items: [await coded.avif()], extra: moov });
    const { source, main } = await optimised(file);
    assert.deepEqual([source.pages, main.format, main.width, main.height], [5, 'webp', 160, 120]);
    assertColours(await quartersOf(main.data), [red, green, blue, white], 20);
    const { variants } = await variantsOf(file);
    assert.equal(shapes(variants), 'display 160x120, thumb 160x120');
  });

  it('that calls itself the other is known by what is in it', async () => {
    const { source, main } = await optimised(heifFile({ brand: 'heic', items: [await coded.avif()] }));
    assert.equal(source.format, 'avif');
    assertColours(await quartersOf(main.data), [red, green, blue, white], 20);
  });

  it('of JPEG inside is refused by name', async () => {
    const item = { type: 'jpeg', data: await picture(), properties: [ispe(400, 300)] };
    await assert.rejects(optimised(heifFile({ brand: 'heic', items: [item] })), {
      code: 'unsupported_image_format',
      message: /type jpeg/,
    });
  });

  it(
    'of AVIF that is too large for the decoder of sharp is decoded by ffmpeg',
    { skip: unlessEverything || noDav1d },
    async () => {
      const large = codedItem(await picture({ format: 'avif', width: 6000, height: 4000 }));
      const crop = clap(5900, 3900, [0, 0]);
      const item = { ...large, properties: [...large.properties, nclx(1, 13, 6, 'full'), crop, irot(1), imir(1)] };
      const file = heifFile({ brand: 'avif', items: [item] });
      const path = join(dir, 'large');
      await writeFile(path, file);
      const means = { signal: new AbortController().signal, memory: createMemoryGate({ bytes: 280e6, slots: 1 }) };
      await assert.rejects(optimise(path, { formats: [] }, means), {
        code: 'image_too_large',
        message: /MEDIA_MEMORY_MB is 280/,
      });
      const { main } = await optimise(path, { formats: [] }, { ...means, ffmpeg });
      assert.deepEqual([main.width, main.height], [1354, 2048]);
      assertColours(await quartersOf(main.data), seenUpright[7], 8);
      assert.deepEqual(
        (await readdir(dir)).filter((name) => name.startsWith('large')),
        ['large'],
      );
    },
  );

  it('of AVIF that is too large for ffmpeg, too, is refused with what ffmpeg needs', { skip: noDav1d }, async () => {
    const { properties, ...item } = await coded.avif();
    const path = join(dir, 'larger');
    await writeFile(
      path,
      heifFile({ brand: 'avif', items: [{ ...item, properties: [ispe(8064, 6048), properties[1]!] }] }),
    );
    const memory = createMemoryGate({ bytes: 280e6, slots: 1 });
    await assert.rejects(optimise(path, { formats: [] }, { signal: new AbortController().signal, memory, ffmpeg }), {
      code: 'image_too_large',
      message: /needs about 349 MB/,
    });
  });

  it('with any byte changed is read or refused, and costs next to nothing', async () => {
    const path = join(dir, 'changed');
    const tile = { ...(await coded.avif()), hidden: true };
    const whole = {
      type: 'grid',
      data: grid(1, 2, 320, 120),
      properties: [ispe(320, 120), irot(1), clap(300, 100, [0, 0])],
    };
    const references = [{ type: 'dimg', from: 3, to: [1, 2] }];
    const file = heifFile({ brand: 'avif', items: [tile, tile, whole], primary: 3, references });
    const end = file.indexOf('mdat');
    let state = 7;
    const random = (below: number) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below;
    for (let n = 0; n < (everything ? 10_000 : 300); n++) {
      const changed = Buffer.from(file);
      for (let times = 1 + random(3); times > 0; times--) changed[random(end)] = [0, 1, 255, random(256)][random(4)]!;
      await writeFile(path, changed);
      await readHeif(path).catch((error: Error) =>
        assert.ok(error instanceof RangeError || error.name === 'PermanentError', `${error.name}: ${error.message}`),
      );
    }
  });
});
