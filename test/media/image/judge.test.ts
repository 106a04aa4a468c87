import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import sharp from 'sharp';
import { messageOf } from '../../../worker/base/errors.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { makeThumbnails } from '../../../worker/media/image/thumbnails.ts';
import { everything } from '../../support/everything.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { avif, heic } from '../../support/judged/heif-cases.ts';
import {
  chromium,
  differenceOf,
  openJudge,
  type Difference,
  type Judge,
  type Seen,
} from '../../support/judged/judge.ts';
import type { Case } from '../../support/judged/made.ts';
import { animations, gifs } from '../../support/judged/moving-cases.ts';
import { jpegs, pngs, webps } from '../../support/judged/plain-cases.ts';
import { tiffs } from '../../support/judged/tiff-cases.ts';
import { optimised } from '../../support/optimised.ts';

// Another decoder judges what we make of made pictures: that of Chromium, as most people look through it.

const noJudge =
  chromium === undefined && 'no Chromium in PATH or CHROMIUM_PATH: nobody judges what is made of pictures';
if (noJudge) console.log(noJudge);

/** These originals are encoded by ffmpeg. That of npm, which is of 2018, makes some of them wrong. */
const madeByFfmpeg = new Set(['AVIF', 'HEIC']);
const noEncoder = ffmpegs[0]!.config.bundled && 'no ffmpeg in PATH: nobody makes AVIF and HEIC to be judged';
if (noEncoder) console.log(noEncoder);

describe('A picture', { skip: noJudge }, () => {
  let judge: Judge;
  let dir: string;
  before(async () => {
    judge = await openJudge(chromium!);
    dir = await mkdtemp(join(tmpdir(), 'rowmill-judge-'));
  });
  after(async () => {
    await judge.close();
    await rm(dir, { recursive: true });
  });

  const families = { JPEG: jpegs, PNG: pngs, WebP: webps, GIF: gifs, TIFF: tiffs, AVIF: avif, HEIC: heic };
  for (const [family, cases] of Object.entries(families))
    it(`of ${family} looks as its judge sees it`, { skip: madeByFfmpeg.has(family) && noEncoder }, async () => {
      await judgeAll(family, chosen(cases), 3, async ({ make }) => {
        const { file, twin = file } = await make();
        return differenceOf(await made(file), await judge.see(twin));
      });
    });

  it('that moves looks as its judge sees it, frame by frame', async () => {
    await judgeAll('Animations', chosen(animations), 8, async ({ name, make }) => {
      const { file } = await make();
      const { main } = await optimised(file);
      const ours = await judge.seeFrames(main.data, main.content_type);
      const theirs = await judge.seeFrames(file, name.startsWith('GIF') ? 'image/gif' : 'image/webp');
      assert.equal(ours.length, theirs.length, 'frames');
      return worstOf(ours.map((frame, n) => differenceOf(frame, theirs[n]!)));
    });
  });

  /** What we make of a file, without loss. */
  async function made(file: Buffer): Promise<Seen> {
    const path = join(dir, 'original');
    await writeFile(path, file);
    const means = { dir, signal: new AbortController().signal, memory: createMemoryGate({ bytes: 500e6, slots: 2 }) };
    const { thumbnails } = await makeThumbnails(path, [{ width: 4096, height: 4096 }], 'png', means);
    const { data, info } = await sharp(thumbnails[0]!.path)
      .ensureAlpha()
      .toColourspace('srgb')
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  }
});

/** The first two of each kind are those that are easiest to get wrong. */
const chosen = (cases: Case[]) => (everything ? cases : cases.slice(0, 2));

const worstOf = (all: Difference[]): Difference => ({
  mean: Math.max(...all.map(({ mean }) => mean)),
  worst: Math.max(...all.map(({ worst }) => worst)),
});

/**
 * Prints how far all are from what the judge sees, and which are farthest; fails with those that are too far.
 * @param bound for a case without a bound of its own. Halved chroma that each decoder doubles in its own way makes 2,
 *   lossy WebP up to 6.
 */
async function judgeAll(
  family: string,
  cases: Case[],
  bound: number,
  judgeOne: (one: Case) => Promise<Difference>,
): Promise<void> {
  const judged: { name: string; within: number; difference?: Difference; fault?: string }[] = [];
  for (const one of cases) {
    const { name, within = bound } = one;
    judged.push(
      await judgeOne(one).then(
        (difference) => ({ name, within, difference }),
        (error) => ({ name, within, fault: messageOf(error) }),
      ),
    );
  }
  const means = judged.flatMap(({ difference }) => difference?.mean ?? []);
  const mean = means.reduce((sum, value) => sum + value, 0) / means.length;
  const told = ({ name, difference, fault }: (typeof judged)[number]) =>
    `${name}: ${fault ?? `${difference!.mean.toFixed(2)} (${difference!.worst.toFixed(1)} at its worst place)`}`;
  const farthest = judged.toSorted((a, b) => (b.difference?.mean ?? 256) - (a.difference?.mean ?? 256)).slice(0, 5);
  console.log(
    `${family}: ${cases.length} pictures, ${mean.toFixed(2)} of 255 from the judge in the mean; ` +
      `farthest: ${farthest.map(told).join('; ')}`,
  );
  const wrong = judged.filter(
    ({ within, difference }) => !difference || difference.mean > within || difference.worst > within * 5,
  );
  assert.deepEqual(wrong.map(told), []);
}
