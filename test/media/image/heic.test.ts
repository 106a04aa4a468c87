import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import exifreader from 'exifreader';
import sharp from 'sharp';
import { heicToPng } from '../../../worker/media/image/heif/heic.ts';
import { openPicture } from '../../../worker/media/image/open.ts';
import { optimise } from '../../../worker/media/image/optimise.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { filesOf, optimised } from '../../support/optimised.ts';
import { blue, fixture, green, red, truncated, white } from '../../support/pictures.ts';
import { assertColours, quartersOf, shapes, variantsOf } from '../../support/variants.ts';

// The fixtures. phone: turned by irot and by EXIF, which must count once; Display P3; a place.
// grid: tiles under one picture that is turned, as phones write it. deep: 10 bits. large: 3200 x 2400.
const never = new AbortController().signal;
const roomy = createMemoryGate({ bytes: 280e6, slots: 2 });

let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'rowmill-heic-'))));
after(() => rm(dir, { recursive: true }));

describe('HEIC', () => {
  it('becomes a JPEG, turned once, in sRGB, with nothing of where it was taken', async () => {
    const file = await fixture('phone');
    const tags = exifreader.load(file, { expanded: true });
    assert.ok(tags.exif?.['Orientation']?.value === 6 && tags.gps?.Latitude && file.includes('Ada Canary'));
    assert.ok((await sharp(file).metadata()).icc);

    const made = await optimised(file, { formats: ['webp'] });
    const { bytes: _, ...source } = made.source;
    assert.deepEqual(source, { format: 'heic', width: 120, height: 160, orientation: 1, pages: 1, has_alpha: false });
    assert.deepEqual([made.main.format, made.main.width, made.main.height], ['jpeg', 120, 160]);
    for (const { data } of filesOf(made)) {
      assertColours(await quartersOf(data), [blue, red, white, green], 15);
      const { exif, xmp, icc } = await sharp(data).metadata();
      assert.deepEqual([exif, xmp, icc], [undefined, undefined, undefined]);
      assert.ok(!data.includes('Canary'));
    }
  });

  it('in tiles is put together', async () => {
    const { source, main } = await optimised(await fixture('grid'));
    assert.deepEqual([source.width, source.height, main.width, main.height], [190, 250, 190, 250]);
    assertColours(await quartersOf(main.data), [blue, red, white, green], 15);
  });

  it('that is see-through becomes WebP and stays so', async () => {
    const { source, main } = await optimised(await fixture('see-through'));
    assert.deepEqual([source.has_alpha, main.format], [true, 'webp']);
    const seen = await quartersOf(main.data);
    assertColours([seen[0]!, seen[2]!], [red, blue], 15);
    assert.deepEqual(
      seen.map((colour) => colour[3]),
      [255, 0, 255, 0],
    );
  });

  it('of 10 bits is read', async () => {
    const { main } = await optimised(await fixture('deep'));
    assertColours(await quartersOf(main.data), [red, green, blue, white], 15);
  });

  it('is read for variants too', async () => {
    const { source, variants } = await variantsOf(await fixture('phone'));
    assert.equal(source.format, 'heic');
    assert.equal(shapes(variants), 'display 120x160, thumb 120x160');
    assertColours(await quartersOf(variants[0]!.data), [blue, red, white, green], 15);
  });

  for (const share of [0.3, 0.8, 0.99])
    it(`of which ${share * 100} % are there is damaged for good`, async () => {
      await assert.rejects(optimised(truncated(await fixture('phone'), share)), {
        name: 'PermanentError',
        code: 'media_truncated',
        message: /^The HEIC is cut off: \S[^\n]*$/,
      });
    });

  it('that says it is huge is refused before it is decoded', async () => {
    await assert.rejects(optimised(resized(await fixture('phone'), 9000, 9000)), {
      code: 'image_too_large',
      message: /The HEIC has 9000 x 9000 pixels and needs about \d+ MB/,
    });
  });

  it('that says it is smaller than it is does not get the memory', async () => {
    await assert.rejects(optimised(resized(await fixture('phone'), 16, 16)), { code: 'image_corrupt' });
  });
});

describe('The thread that decodes HEIC', () => {
  const box = { width: 2048, height: 2048 };
  const decode = async (name: string, { memoryBytes = 100e6, signal = never } = {}) => {
    const from = join(dir, name);
    await writeFile(from, await fixture(name));
    await heicToPng(await openPicture(from), `${from}.png`, box, { memoryBytes, signal });
    return sharp(`${from}.png`).metadata();
  };

  it('writes a PNG, not turned yet, that has the colour profile still', async () => {
    const { width, height, channels, depth, icc } = await decode('phone');
    assert.deepEqual([width, height, channels, depth], [160, 120, 3, 'uchar']);
    assert.ok(icc);
  });

  it('keeps more than 8 bits', async () => {
    assert.equal((await decode('deep')).depth, 'ushort');
  });

  it('takes no more memory than it was admitted with', async () => {
    await assert.rejects(decode('large', { memoryBytes: 20e6 }), { code: 'image_too_large', message: /20 MB/ });
  });

  it('ends when the job is aborted', async () => {
    const caller = new AbortController();
    const decoding = decode('large', { signal: caller.signal });
    setImmediate(() => caller.abort(new Error('stop')));
    await assert.rejects(decoding, { message: 'stop' });
  });

  it('leaves no file behind, whatever came of it', async () => {
    const place = await mkdtemp(join(dir, 'place-'));
    for (const file of [await fixture('phone'), truncated(await fixture('phone'), 0.9)]) {
      await writeFile(join(place, 'original'), file);
      await optimise(join(place, 'original'), { formats: [] }, { signal: never, memory: roomy }).catch(() => {});
      assert.deepEqual(await readdir(place), ['original']);
    }
  });
});

/** The same file, which says of each picture in it that it has another size. */
function resized(file: Buffer, width: number, height: number): Buffer {
  for (let at = file.indexOf('ispe'); at >= 0; at = file.indexOf('ispe', at + 4)) {
    file.writeUInt32BE(width, at + 8);
    file.writeUInt32BE(height, at + 12);
  }
  return file;
}
