import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import sharp from 'sharp';
import { slow, unlessEverything } from '../../support/everything.ts';
import { gridOf, hevcItem } from '../../support/heif.ts';
import { measure, optimised, thumbnails, variants } from '../../support/picture-memory.ts';
import { fixture, picture, type PictureOptions } from '../../support/pictures.ts';

let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'rowmill-estimate-'))));
after(() => rm(dir, { recursive: true }));

describe(
  'The estimate of memory',
  { skip: !existsSync('/proc/self/clear_refs') && 'the high-water mark of memory is read from /proc' },
  () => {
    // One of each decoder; those with `rarely` are more of the same.
    const rarely = { skip: unlessEverything };
    const interlaced = { format: 'png', progressive: true } as const;
    const cases: [what: string, options: PictureOptions, when?: typeof rarely][] = [
      ['a JPEG of 24 megapixels', { width: 6000, height: 4000, photo: true }],
      ['a JPEG of 24 megapixels on its side', { width: 6000, height: 4000, orientation: 6 }, rarely],
      ['a CMYK JPEG', { width: 4000, height: 3000, profile: 'cmyk' }, rarely],
      ['a progressive JPEG', { width: 6000, height: 4000, progressive: true }, rarely],
      ['a PNG of 100 megapixels', { width: 10_000, height: 10_000, format: 'png' }, rarely],
      ['an interlaced PNG', { width: 4000, height: 3000, ...interlaced, alpha: true }, rarely],
      ['a deep PNG', { width: 4000, height: 3000, format: 'png', deep: true }, rarely],
      ['a lossless WebP', { width: 4000, height: 3000, format: 'webp', lossless: true }],
      ['a GIF', { width: 4000, height: 3000, format: 'gif' }],
      ['an AVIF of 12 megapixels', { width: 4032, height: 3024, format: 'avif' }],
      ['a TIFF of one tile', { width: 4032, height: 3024, format: 'tiff', tiled: 4096, photo: true }],
      ['a scroll', { width: 1600, height: 16_000, photo: true }, rarely],
      ['a scroll that was on its side', { width: 16_000, height: 1600, orientation: 6 }, rarely],
      ['a see-through scroll', { width: 1000, height: 6000, format: 'png', alpha: true }, rarely],
      ['a scroll of noise', { width: 1600, height: 4000, format: 'png', grain: 1 }, rarely],
      ['a see-through PNG of noise', { width: 1600, height: 1200, format: 'png', alpha: true, grain: 1 }],
      ['a see-through WebP of noise', { width: 4032, height: 3024, format: 'webp', alpha: true, grain: 3 }, rarely],
    ];
    for (const [what, options, when = {}] of cases) {
      it(`covers what the process really grows by, for ${what}`, when, async () => {
        const path = join(dir, 'original');
        await writeFile(path, await picture(options));
        await covered(path, variants);
      });
    }

    // What phones make, in the memory that one picture may take by default.
    const phones: [what: string, options: PictureOptions][] = [
      ['JPEG', {}],
      ['progressive JPEG', { progressive: true }],
      ['progressive JPEG, 4:4:4', { progressive: true, subsampling: '4:4:4' }],
      ['JPEG on its side', { orientation: 6 }],
      ['WebP', { format: 'webp' }],
      ['lossless WebP', { format: 'webp', lossless: true }],
      ['PNG', { format: 'png' }],
      ['TIFF', { format: 'tiff' }],
      ['TIFF in tiles', { format: 'tiff', tiled: 256 }],
    ];
    const sizes = [
      [4032, 3024],
      [6000, 4000],
      [8064, 6048],
    ] as const;
    for (const [width, height] of sizes)
      for (const [what, options] of phones) {
        const megapixels = Math.round((width * height) / 1e6);
        // What is larger is of flat colours, so that it is soon made: those take less memory.
        const tight = megapixels < 20 || options.progressive === true;
        // Of the largest one of a kind: without the one that does not fit, twice 49 megapixels of three channels.
        if (megapixels === 49 && !['JPEG', 'progressive JPEG', 'PNG'].includes(what)) continue;
        it(
          `${tight ? 'is near to' : 'covers'} the growth of the process, and fits: ${megapixels} megapixels of ${what}`,
          rarely,
          async () => {
            const path = join(dir, 'original');
            await writeFile(path, await picture({ width, height, photo: megapixels < 20, ...options }));
            await covered(path, variants, { tight });
            if (tight && megapixels < 49) await covered(path, optimised(), { tight });
          },
        );
      }

    slow('covers what the process really grows by, for thumbnails of an interlaced PNG', async () => {
      const path = join(dir, 'original');
      await writeFile(path, await picture({ width: 4000, height: 3000, ...interlaced, alpha: true, photo: true }));
      await covered(path, thumbnails);
    });

    const png = { format: 'png', photo: true, alpha: true } as const;
    const messages: [what: string, file: () => Promise<Buffer>, formats: string[], when?: typeof rarely][] = [
      ['a JPEG', () => picture({ width: 6000, height: 4000, photo: true }), [], rarely],
      ['a see-through PNG', () => picture({ width: 4000, height: 3000, ...png }), [], rarely],
      ['a copy in AVIF', () => picture({ width: 1024, height: 1024, ...png }), ['avif'], rarely],
      ['a large copy in AVIF', () => picture({ width: 2048, height: 2048, ...png }), ['avif'], rarely],
      ['a HEIC', () => fixture('large'), []],
      ['an animation of noise', movingNoise, [], rarely],
      [
        'a HEIC of 12 megapixels and 10 bits in tiles',
        async () => gridOf('heic', await hevcItem(512, 512, 'yuv420p10le'), [4032, 3024], [512, 512]),
        [],
        rarely,
      ],
      [
        'a HEIC of 48 megapixels and 10 bits in tiles',
        async () => gridOf('heic', await hevcItem(512, 512, 'yuv420p10le'), [8064, 6048], [512, 512]),
        [],
        rarely,
      ],
    ];
    for (const [what, file, formats, when = {}] of messages) {
      it(`covers what the process really grows by, for a message with ${what}`, when, async () => {
        const path = join(dir, 'original');
        await writeFile(path, await file());
        await covered(path, optimised(formats));
      });
    }

    it('is not needed any more when a HEIC is done with', async () => {
      const path = join(dir, 'original');
      await writeFile(path, await fixture('large'));
      const { rests } = await measure(path, optimised(), { times: 3 });
      assert.ok(rests[2]! < rests[0]! + 20, `${rests.join(' MB, then ')} MB stayed`);
    });
  },
);

async function movingNoise(): Promise<Buffer> {
  const [width, pageHeight, pages] = [800, 600, 12];
  const all = { width, height: pageHeight * pages };
  const { data } = await sharp(await picture({ ...all, format: 'png', grain: 1, alpha: true }))
    .raw()
    .toBuffer({ resolveWithObject: true });
  return sharp(data, { raw: { ...all, channels: 4, pageHeight } })
    .webp({ quality: 80, effort: 0 })
    .toBuffer();
}

/** Megabytes by which an estimate may be above what was measured, and a share of that beside. */
const [slackShare, slack] = [0.3, 12];

async function covered(path: string, call: string, { tight = false } = {}): Promise<void> {
  const { estimate, growth } = await measure(path, call);
  const most = growth * (1 + slackShare) + slack;
  if (tight) assert.ok(estimate <= most, `it grew by ${growth} MB, and ${estimate} MB is too much`);
  assert.ok(growth <= estimate, `it grew by ${growth} MB, and ${estimate} MB was estimated`);
  assert.ok(estimate <= 280, `it is asked to fit in the memory of a small machine, and ${estimate} MB was estimated`);
}
