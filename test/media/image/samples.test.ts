import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import sharp from 'sharp';
import { makeSamples, type Sample } from '../../../worker/media/image/samples.ts';
import { variantsOf } from '../../support/variants.ts';

describe('The sample pictures', () => {
  let dir: string;
  let samples: Sample[];
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rowmill-samples-'));
    samples = await makeSamples(dir);
  });
  after(() => rm(dir, { recursive: true }));

  it('can all be published, but for the one that is broken on purpose', async () => {
    const outcomes = await Promise.all(
      samples.map(async ({ name, broken }) => {
        const { source } = await variantsOf(await readFile(join(dir, name))).catch(() => ({ source: undefined }));
        assert.equal(source === undefined, broken, name);
        return source?.format ?? 'broken';
      }),
    );
    assert.deepEqual([...new Set(outcomes)].toSorted(), ['avif', 'broken', 'gif', 'jpeg', 'png', 'tiff', 'webp']);
  });

  it('hold a place in one of them, and a side way up, so that one can see both go', async () => {
    const meta = await sharp(join(dir, 'phone-gps.jpg')).metadata();
    assert.equal(meta.orientation, 6);
    assert.ok(meta.exif?.includes('Sample phone') && meta.exif.includes(Buffer.from([0x25, 0x88])), 'a GPS directory');
  });
});
