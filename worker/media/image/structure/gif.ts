import type { Cursor } from '../../cursor.ts';
import { maxFrames, tooMany } from './limits.ts';

export type GifStructure = {
  cut: boolean;
  /** The first frame of which bytes are missing. */
  lostFrame?: number;
  gif?: {
    /** The canvas, which frames are drawn on. */
    width: number;
    height: number;
    /** Where the first block begins. */
    start: number;
    frames: GifFrame[];
  };
};

export type GifFrame = {
  left: number;
  top: number;
  width: number;
  height: number;
  transparent: boolean;
  /** What becomes of it before the next frame: 2 clears its place. */
  disposal: number;
  /** Milliseconds, as many as sharp takes. */
  delay: number;
  /** Of the flags in the graphic control extension, where the frame has one. */
  flagsAt: number | undefined;
  /** Behind its last block. */
  end: number;
};

/** Blocks by their introducers, sub-blocks by their lengths. https://www.w3.org/Graphics/GIF/spec-gif89a.txt */
export async function walkGif(cursor: Cursor): Promise<GifStructure> {
  const header = await cursor.take(13);
  if (!header) return { cut: true };
  cursor.skip(colourTable(header[10]!));
  const gif = {
    width: header.readUInt16LE(6),
    height: header.readUInt16LE(8),
    start: cursor.at,
    frames: [] as GifFrame[],
  };
  let control = none;
  for (;;) {
    const introducer = (await cursor.take(1))?.[0];
    if (introducer === 0x21) {
      control = (await takeControl(cursor)) ?? control;
    } else if (introducer === 0x2c) {
      if (gif.frames.length === maxFrames) throw tooMany('GIF', 'frames', maxFrames);
      const descriptor = await cursor.take(9);
      if (!descriptor) return { cut: true, lostFrame: gif.frames.length, gif };
      const [left, top, width, height] = [0, 2, 4, 6].map((at) => descriptor.readUInt16LE(at)) as [
        number,
        number,
        number,
        number,
      ];
      cursor.skip(colourTable(descriptor[8]!) + 1);
      const whole = await skipSubBlocks(cursor);
      gif.frames.push({ left, top, width, height, ...control, end: cursor.at });
      if (!whole) return { cut: true, lostFrame: gif.frames.length - 1, gif };
      control = none;
    } else return { cut: introducer === undefined, gif };
  }
}

type Control = Pick<GifFrame, 'transparent' | 'disposal' | 'delay' | 'flagsAt'>;
const none: Control = { transparent: false, disposal: 0, delay: 100, flagsAt: undefined };

/** Passes over an extension. @returns what it says of the frame that follows, if it is one that does */
async function takeControl(cursor: Cursor): Promise<Control | undefined> {
  const label = (await cursor.take(1))?.[0];
  const flagsAt = cursor.at + 1;
  const block = label === 0xf9 ? await cursor.take(5) : undefined;
  const control = block && block[0]! >= 4 ? controlOf(block, flagsAt) : undefined;
  cursor.at = flagsAt - 1;
  await skipSubBlocks(cursor);
  return control;
}

function controlOf(block: Buffer, flagsAt: number): Control {
  const flags = block[1]!;
  return {
    transparent: (flags & 1) === 1,
    disposal: (flags >> 2) & 7,
    delay: Math.min(65_535, block.readUInt16LE(2) * 10),
    flagsAt,
  };
}

/** @returns whether all of them are there, with the empty one at their end */
async function skipSubBlocks(cursor: Cursor): Promise<boolean> {
  for (;;) {
    const length = (await cursor.take(1))?.[0];
    if (!length) return length === 0;
    cursor.skip(length);
  }
}

/** The bytes of the colour table that a GIF's packed field announces. */
const colourTable = (packed: number) => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);
