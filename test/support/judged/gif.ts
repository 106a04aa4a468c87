import { sceneAt } from './scene.ts';

export type GifFrame = {
  left: number;
  top: number;
  width: number;
  height: number;
  /** 1 leave, 2 to the background, 3 to what was before. */
  disposal?: 0 | 1 | 2 | 3;
  /** Every third place is see-through. */
  holes?: boolean;
  interlaced?: boolean;
  /** Colours of its own, in the other order. */
  ownColours?: boolean;
};
export type GifOptions = {
  width: number;
  height: number;
  background?: number;
  frames: GifFrame[];
  noColours?: boolean;
};

const seeThrough = 255;

/** The scene in frames, in the 216 colours of the web. https://www.w3.org/Graphics/GIF/spec-gif89a.txt */
export function gif({ width, height, background = 0, frames, noColours = false }: GifOptions): Buffer {
  return Buffer.concat([
    Buffer.from('GIF89a', 'latin1'),
    words(width, height),
    Buffer.from([noColours ? 0x70 : 0xf7, background, 0]),
    ...(noColours ? [] : [colours()]),
    ...(frames.length > 1 ? [Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0', 'latin1')] : []),
    ...frames.flatMap((frame, n) => [control(frame), descriptor(frame), ...image(frame, { width, height }, n)]),
    Buffer.from([0x3b]),
  ]);
}

const words = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [n, value] of values.entries()) bytes.writeUInt16LE(value, n * 2);
  return bytes;
};

function colours(reversed = false): Buffer {
  const table = Buffer.alloc(768);
  for (let n = 0; n < 216; n++) {
    const index = reversed ? 215 - n : n;
    table.set(
      [Math.floor(n / 36), Math.floor(n / 6) % 6, n % 6].map((step) => step * 51),
      index * 3,
    );
  }
  return table;
}

const control = ({ disposal = 0, holes = false }: GifFrame) =>
  Buffer.from([0x21, 0xf9, 4, (disposal << 2) | (holes ? 1 : 0), 10, 0, holes ? seeThrough : 0, 0]);

const descriptor = ({ left, top, width, height, interlaced = false, ownColours = false }: GifFrame) =>
  Buffer.concat([
    Buffer.from([0x2c]),
    words(left, top, width, height),
    Buffer.from([(ownColours ? 0x87 : 0) | (interlaced ? 0x40 : 0)]),
  ]);

/** First row and step of the four passes of an interlaced frame. */
const passes = [
  [0, 8],
  [4, 8],
  [2, 4],
  [1, 2],
] as const;

/** The nth frame of an animation is a little brighter than the one before. */
function image(frame: GifFrame, canvas: { width: number; height: number }, n: number): Buffer[] {
  const rows = Array.from({ length: frame.height }, (_, y) => y);
  const order = frame.interlaced ? passes.flatMap(([from, step]) => rows.filter((y) => y % step === from)) : rows;
  const indexes = order.flatMap((y) => Array.from({ length: frame.width }, (_, x) => indexAt(frame, x, y, canvas, n)));
  return [...(frame.ownColours ? [colours(true)] : []), Buffer.from([8]), blocks(uncompressed(indexes))];
}

function indexAt(frame: GifFrame, x: number, y: number, canvas: { width: number; height: number }, n: number): number {
  if (frame.holes && (x + y) % 3 === 0) return seeThrough;
  const [red, green, blue] = sceneAt((frame.left + x) / (canvas.width - 1), (frame.top + y) / (canvas.height - 1));
  const step = (share: number) => Math.min(5, Math.round(share * 5 * (1 + n / 3)));
  const index = step(red) * 36 + step(green) * 6 + step(blue);
  return frame.ownColours ? 215 - index : index;
}

/** LZW that never uses its table: codes of 9 bits, the table cleared before they would need 10. */
function uncompressed(indexes: number[]): Buffer {
  const [clear, end] = [256, 257];
  const codes = indexes.flatMap((index, n) => (n % 250 === 0 ? [clear, index] : [index]));
  const bytes = Buffer.alloc(Math.ceil(((codes.length + 1) * 9) / 8));
  for (const [n, code] of [...codes, end].entries()) {
    const bit = n * 9;
    bytes[bit >> 3]! |= (code << (bit & 7)) & 0xff;
    bytes[(bit >> 3) + 1]! |= code >> (8 - (bit & 7));
  }
  return bytes;
}

function blocks(data: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < data.length; at += 255) {
    const part = data.subarray(at, at + 255);
    parts.push(Buffer.from([part.length]), part);
  }
  return Buffer.concat([...parts, Buffer.from([0])]);
}
