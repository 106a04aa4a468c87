import type { Cursor } from '../../cursor.ts';
import { maxFrames, tooMany } from './limits.ts';

export type GifStructure = {
  cut: boolean;
  /** Index of the first frame with missing bytes. */
  lostFrame?: number;
  gif?: {
    /** The canvas that frames are drawn on. */
    width: number;
    height: number;
    /** Offset of the first block. */
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
  /** Disposal method: what happens to the frame before the next one; 2 clears its place. */
  disposal: number;
  /** Delay in milliseconds, at most the largest that sharp takes. */
  delay: number;
  /** Offset of the flags in the graphic control extension, where the frame has one. */
  flagsAt: number | undefined;
  /** Offset after its last block. */
  end: number;
};

/** Walks blocks by their introducers, sub-blocks by their lengths. https://www.w3.org/Graphics/GIF/spec-gif89a.txt */
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

/** Skips an extension. @returns the properties of the frame that follows, from a graphic control extension */
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

/** @returns whether all sub-blocks are there, up to the empty one at the end */
async function skipSubBlocks(cursor: Cursor): Promise<boolean> {
  for (;;) {
    const length = (await cursor.take(1))?.[0];
    if (!length) return length === 0;
    cursor.skip(length);
  }
}

/** Size in bytes of the colour table that a packed field announces. */
const colourTable = (packed: number) => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);
