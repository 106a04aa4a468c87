import { createReadStream, createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { GifFrame, GifStructure } from './structure/gif.ts';

/** A corrected copy of a GIF, read in its place. */
export type CorrectedGif = {
  path: string;
  /** The index in it of the picture's first frame. */
  page: number;
  /** Milliseconds for each frame from `page` on. */
  delays: number[];
};

/**
 * Writes a corrected copy beside the GIF at `path`, which libnsgif shows as browsers show the original. libnsgif
 * differs in three ways: it leaves black what no frame covers, unless a frame has transparency; it takes a canvas of
 * 800 x 600 and other common sizes to be as large as the first frame; and it clears an opaque frame to the background
 * colour, where browsers clear it to transparent.
 *
 * So an empty transparent frame as large as the canvas is put before a first frame that does not cover it; and an
 * opaque frame that is to be cleared is followed by an empty transparent one in the same place, which is cleared
 * instead.
 * @returns undefined where libnsgif shows the file right as it is
 */
export async function correctGif(path: string, { gif }: GifStructure): Promise<CorrectedGif | undefined> {
  const first = gif?.frames[0];
  if (!gif || !first) return undefined;
  const width = Math.max(gif.width, first.left + first.width);
  const height = Math.max(gif.height, first.top + first.height);
  const canvas = { left: 0, top: 0, width, height };
  const page = covers(first, canvas) ? 0 : 1;
  const cleared = gif.frames.filter((frame, n) => isClearedToBackground(frame, gif.frames[n + 1]));
  if (page === 0 && cleared.length === 0) return undefined;

  const edits: Edit[] = page === 1 ? [{ at: gif.start, skip: 0, bytes: emptyFrame(canvas, keep) }] : [];
  for (const frame of cleared)
    edits.push(
      { at: frame.flagsAt!, skip: 1, bytes: Buffer.from([keep << 2]) },
      { at: frame.end, skip: 0, bytes: emptyFrame(frame, clear) },
    );
  const to = `${path}.gif`;
  await pipeline(edited(path, edits), createWriteStream(to, { flags: 'wx', mode: 0o600 }));
  const twice = new Set(cleared);
  const delays = gif.frames.flatMap((frame) => (twice.has(frame) ? halves(frame.delay) : [frame.delay]));
  return { path: to, page, delays };
}

type Box = { left: number; top: number; width: number; height: number };

const covers = (outer: Box, inner: Box) =>
  outer.left <= inner.left &&
  outer.top <= inner.top &&
  outer.left + outer.width >= inner.left + inner.width &&
  outer.top + outer.height >= inner.top + inner.height;

const keep = 1;
const clear = 2;

/** Whether clearing it would show the background colour: not if the frame is transparent, or the next one covers it. */
function isClearedToBackground(frame: GifFrame, next: GifFrame | undefined): boolean {
  if (frame.disposal !== clear || frame.transparent || !next) return false;
  return next.transparent || !covers(next, frame);
}

/** An empty frame, fully transparent, with data for one pixel: libnsgif lets frames be short but not empty. */
function emptyFrame({ left, top, width, height }: Box, disposal: number): Buffer {
  // Graphic control extension, image descriptor, data: clear code, colour 0, end code.
  const parts = ['21f9040000000000', '2c000000000000000000', '0202440100'];
  const frame = Buffer.from(parts.join(''), 'hex');
  frame[3] = (disposal << 2) | 1;
  for (const [n, value] of [left, top, width, height].entries()) frame.writeUInt16LE(value, 9 + n * 2);
  return frame;
}

/**
 * Delays of a frame and of the empty one after it, which become one frame again in WebP. Browsers take 10 ms and less
 * for 100.
 */
function halves(delay: number): [number, number] {
  const whole = Math.max(22, delay <= 10 ? 100 : delay);
  const half = Math.floor(whole / 2);
  return [whole - half, half];
}

/** Bytes to insert at a place, instead of `skip` bytes there. */
type Edit = { at: number; skip: number; bytes: Buffer };

async function* edited(path: string, edits: Edit[]): AsyncGenerator<Buffer> {
  let from = 0;
  for (const { at, skip, bytes } of edits) {
    if (at > from) yield* createReadStream(path, { start: from, end: at - 1 });
    yield bytes;
    from = at + skip;
  }
  yield* createReadStream(path, { start: from });
}
