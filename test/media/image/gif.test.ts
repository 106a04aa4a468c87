import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Page } from 'playwright-core';
import sharp from 'sharp';
import { findChromium, startChromium } from '../../support/browser.ts';
import { unlessEverything } from '../../support/everything.ts';
import { gif, shownBy, type Frame } from '../../support/gifs.ts';
import { optimised } from '../../support/optimised.ts';
import { variantsOf } from '../../support/variants.ts';

// GIF as browsers show it: what no frame covers is see-through, and so is what a frame leaves that is cleared.

const full = (width: number, height: number, colour = 0): Frame => ({ left: 0, top: 0, width, height, colour });
const patch = (left: number, colour: number): Frame => ({ left, top: 5, width: 20, height: 20, colour });

const cases: [what: string, width: number, height: number, frames: Frame[]][] = [
  ['one frame that covers it', 60, 40, [full(60, 40)]],
  ['one frame that does not cover it', 60, 40, [patch(10, 0)]],
  ['a frame that sticks out of it', 60, 40, [{ ...patch(50, 1), width: 20 }, patch(5, 2)]],
  ['a first frame that is smaller than a usual canvas', 640, 480, [patch(10, 0)]],
  ['a first frame that is smaller than a large canvas', 2100, 60, [patch(10, 0)]],
  ['frames side by side, none of which covers it', 60, 40, [patch(0, 0), patch(20, 1), patch(40, 2)]],
  ['an opaque frame that is cleared', 60, 40, [full(60, 40), { ...patch(10, 1), disposal: 2 }, patch(35, 2)]],
  [
    'a first frame that is cleared, and one with holes over it',
    60,
    40,
    [
      { ...full(60, 40), disposal: 2 },
      { ...full(60, 40, 1), right: 3, hole: 3 },
    ],
  ],
  ['a frame that is taken back', 60, 40, [full(60, 40), { ...patch(10, 1), disposal: 3 }, patch(35, 2)]],
  ['a first frame that is taken back', 60, 40, [{ ...patch(10, 1), disposal: 3 }, patch(35, 2)]],
  [
    'all of it in turn',
    60,
    40,
    [
      { ...patch(0, 0), disposal: 2 },
      { ...patch(10, 1), disposal: 3 },
      { ...patch(20, 2), right: 1, hole: 1, disposal: 2 },
      { ...patch(30, 3), disposal: 2 },
      patch(5, 1),
    ],
  ],
];

describe('A GIF', () => {
  for (const [what, width, height, frames] of cases)
    it(`is shown as browsers show it: ${what}`, async () => {
      const file = gif(width, height, frames);
      const size = sizeOf(width, height, frames);
      const expected = shownBy(size.width, size.height, frames);
      const { source, variants } = await variantsOf(file);
      assert.deepEqual([source.width, source.height, source.pages], [size.width, size.height, frames.length]);
      if (size.width <= 1600) assertSame(await rgba(variants[0]!.data), expected[0]!);

      const { main, thumbnail } = await optimised(file);
      assert.ok((await sharp(thumbnail.data).metadata()).width);
      if (size.width <= 1600 && size.height <= 1600) await assertFrames(main.data, expected);
    });

  it('of frames in any order and place, cleared in any way, is shown as browsers show it', async (t) => {
    const random = randomFrom(7);
    for (let round = 0; round < (unlessEverything ? 10 : 200); round++) {
      const frames = Array.from({ length: 1 + random(5) }, () => anyFrame(random));
      const { width, height } = sizeOf(48, 32, frames);
      const { main } = await optimised(gif(48, 32, frames));
      await assertFrames(main.data, shownBy(width, height, frames)).catch((error: Error) => {
        t.diagnostic(JSON.stringify(frames));
        throw error;
      });
    }
  });

  it('keeps its pace', async () => {
    const frames: Frame[] = [
      { ...patch(0, 0), delay: 5 },
      { ...patch(10, 1), delay: 20, disposal: 2 },
      { ...patch(20, 2), delay: 30 },
    ];
    const { main } = await optimised(gif(60, 40, frames));
    assert.deepEqual((await sharp(main.data).metadata()).delay, [50, 200, 300]);
  });

  const chromium = findChromium();
  it(
    'is what Chromium makes of it',
    { skip: (unlessEverything || !chromium) && 'Chromium is tried by TEST_ALL=on where there is one' },
    async (t) => {
      const browser = await startChromium(chromium!);
      t.after(() => browser.close());
      const page = await browser.newPage();
      await page.route('https://rowmill.test/', (route) => route.fulfill({ contentType: 'text/html', body: '<p>' }));
      await page.goto('https://rowmill.test/');
      for (const [what, width, height, frames] of cases) {
        const size = sizeOf(width, height, frames);
        const seen = await framesSeen(page, gif(width, height, frames));
        const expected = shownBy(size.width, size.height, frames);
        for (const [n, frame] of expected.entries()) assertSame(seen[n]!, frame, `${what}, frame ${n}`);
      }
    },
  );
});

/** Of the canvas, which the first frame makes larger where it sticks out. */
const sizeOf = (width: number, height: number, [first]: Frame[]) => ({
  width: Math.max(width, first!.left + first!.width),
  height: Math.max(height, first!.top + first!.height),
});

async function rgba(file: Buffer, page = 0): Promise<Buffer> {
  return sharp(file, { page }).ensureAlpha().raw().toBuffer();
}

/** Frames that show the same one after the other are one in WebP. */
async function assertFrames(webp: Buffer, expected: Buffer[]): Promise<void> {
  const { pages = 1 } = await sharp(webp).metadata();
  const different = expected.filter((frame, n) => n === 0 || !frame.equals(expected[n - 1]!));
  assert.equal(pages, different.length);
  for (const [page, frame] of different.entries()) assertSame(await rgba(webp, page), frame, `frame ${page}`);
}

/** Colours within what lossy WebP makes of edges: most pixels, and what is see-through exactly so. */
function assertSame(actual: Buffer, expected: Buffer, what = 'it'): void {
  assert.equal(actual.length, expected.length, what);
  let [holes, off] = [0, 0];
  for (let at = 0; at < expected.length; at += 4) {
    if (actual[at + 3] !== expected[at + 3]) holes++;
    else if (expected[at + 3] && [0, 1, 2].some((n) => Math.abs(actual[at + n]! - expected[at + n]!) > 60)) off++;
  }
  assert.equal(holes, 0, `${what}: ${holes} pixels are see-through and should not be, or the reverse`);
  assert.ok(off < expected.length / 4 / 5, `${what}: ${off} pixels have another colour`);
}

function anyFrame(random: (below: number) => number): Frame {
  const [left, top] = [random(40), random(24)];
  return {
    left,
    top,
    width: 8 + random(48 - left),
    height: 8 + random(32 - top),
    colour: random(4),
    right: random(4),
    disposal: random(4) as 0 | 1 | 2 | 3,
    ...(random(2) ? { hole: random(4) } : {}),
  };
}

function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % 65_536) % below;
}

/** https://developer.mozilla.org/en-US/docs/Web/API/ImageDecoder, which is there on secure pages alone */
async function framesSeen(page: Page, file: Buffer): Promise<Buffer[]> {
  const frames = await page.evaluate(async (base64) => {
    const { ImageDecoder, OffscreenCanvas } = globalThis as any;
    const data = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const decoder = new ImageDecoder({ data, type: 'image/gif' });
    await Promise.all([decoder.completed, decoder.tracks.ready]);
    const all: string[] = [];
    for (let frameIndex = 0; frameIndex < decoder.tracks.selectedTrack.frameCount; frameIndex++) {
      const { image } = await decoder.decode({ frameIndex });
      const { displayWidth: width, displayHeight: height } = image;
      const context = new OffscreenCanvas(width, height).getContext('2d');
      context.drawImage(image, 0, 0);
      const pixels: Uint8ClampedArray = context.getImageData(0, 0, width, height).data;
      let text = '';
      for (const byte of pixels) text += String.fromCharCode(byte);
      all.push(btoa(text));
    }
    return all;
  }, file.toString('base64'));
  return frames.map((frame) => Buffer.from(frame, 'base64'));
}
