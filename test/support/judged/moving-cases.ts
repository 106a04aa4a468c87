import sharp from 'sharp';
import type { Case } from './made.ts';
import { gif, type GifFrame, type GifOptions } from './gif.ts';
import { size } from './scene.ts';
import { animatedWebp, type WebpFrame } from './webp.ts';

const whole: GifFrame = { left: 0, top: 0, ...size };
const middle: GifFrame = { left: 16, top: 12, width: 32, height: 24 };
const corner: GifFrame = { left: 40, top: 30, width: 24, height: 18 };

const gifOf = (name: string, ...frames: GifFrame[]) => made(name, { ...size, frames });
const made = (name: string, options: GifOptions): Case => ({ name, make: async () => ({ file: gif(options) }) });

export const gifs: Case[] = [
  gifOf('smaller than its canvas', middle),
  gifOf('with holes, interlaced', { ...whole, holes: true, interlaced: true }),
  gifOf('whole', whole),
  gifOf('interlaced', { ...whole, interlaced: true }),
  gifOf('with holes', { ...whole, holes: true }),
  gifOf('smaller than its canvas, with holes', { ...middle, holes: true }),
  gifOf('in the last corner', corner),
  gifOf('smaller than its canvas, interlaced', { ...middle, interlaced: true }),
  gifOf('with colours of its own', { ...whole, ownColours: true }),
  gifOf('wider than its canvas', { left: 0, top: 0, width: 80, height: 60 }),
  gifOf('partly outside of its canvas', { left: 48, top: 36, width: 32, height: 24 }),
  made('no colours for all', { ...size, frames: [{ ...whole, ownColours: true }], noColours: true }),
  made('with a background', { ...size, background: 35, frames: [middle] }),
  gifOf('two frames, the first smaller', middle, whole),
  gifOf('two frames, the first with holes', { ...whole, holes: true }, corner),
  gifOf('two frames of its own colours', { ...whole, ownColours: true }, { ...middle, ownColours: true }),
];

const webpOf = (name: string, ...frames: WebpFrame[]): Case => ({
  name: `WebP, ${name}`,
  make: async () => ({ file: await animatedWebp(size, frames) }),
});
const asMoving = (name: string, ...frames: GifFrame[]): Case => ({ ...gifOf(name, ...frames), name: `GIF, ${name}` });

/** What moves, and stays so: each frame is looked at. */
export const animations: Case[] = [
  asMoving('a part over the whole', whole, middle),
  webpOf('a part over the whole', whole, middle),
  asMoving('the whole over a part', middle, whole),
  asMoving('to the background in between', { ...whole, disposal: 2 }, middle, corner),
  asMoving('to what was before in between', whole, { ...middle, disposal: 3 }, corner),
  asMoving(
    'left as it is, with holes',
    { ...whole, holes: true, disposal: 1 },
    { ...middle, holes: true, disposal: 1 },
    corner,
  ),
  asMoving('parts to the background', { ...middle, disposal: 2 }, { ...corner, disposal: 2 }, middle),
  asMoving(
    'interlaced, with colours of their own',
    { ...whole, interlaced: true },
    { ...middle, interlaced: true, ownColours: true },
  ),
  webpOf('the whole over a part', middle, whole),
  webpOf('in place of what was there', whole, { ...middle, blend: false }),
  webpOf('to the background in between', { ...whole, dispose: true }, middle, { ...corner, dispose: true }, middle),
  {
    name: 'WebP, of sharp',
    make: async () => ({
      file: await sharp(gif({ ...size, frames: [whole, middle, corner] }), { animated: true })
        .webp({ lossless: true })
        .toBuffer(),
    }),
  },
];
