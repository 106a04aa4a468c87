/** A frame of one colour, an index of `colours`; where that is `hole` it is see-through. */
export type Frame = {
  left: number;
  top: number;
  width: number;
  height: number;
  colour: number;
  disposal?: 0 | 1 | 2 | 3;
  hole?: number;
  /** Hundredths of a second. */
  delay?: number;
  /** A second colour for its right half. */
  right?: number;
};

/** Red, green, blue, and yellow, which is the background colour. */
export const colours = [
  [220, 20, 20],
  [20, 180, 20],
  [20, 20, 220],
  [230, 220, 30],
] as const;

/** A GIF, by hand: no encoder writes frames that do not cover the canvas and yet are opaque. */
export function gif(width: number, height: number, frames: Frame[]): Buffer {
  const head = Buffer.from('GIF89a\0\0\0\0\x91\x03\0', 'latin1');
  head.writeUInt16LE(width, 6);
  head.writeUInt16LE(height, 8);
  const loop = Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0', 'latin1');
  return Buffer.concat([head, Buffer.from(colours.flat()), loop, ...frames.map(block), Buffer.from(';')]);
}

function block({ left, top, width, height, colour, right = colour, disposal = 0, hole, delay = 10 }: Frame): Buffer {
  const control = Buffer.from([0x21, 0xf9, 4, (disposal << 2) | (hole === undefined ? 0 : 1), delay, 0, hole ?? 0, 0]);
  const descriptor = Buffer.alloc(10);
  descriptor[0] = 0x2c;
  for (const [n, value] of [left, top, width, height].entries()) descriptor.writeUInt16LE(value, 1 + n * 2);
  const pixels = Array.from({ length: width * height }, (_, n) => (n % width < width / 2 ? colour : right));
  return Buffer.concat([control, descriptor, Buffer.from([2]), subBlocks(lzw(pixels)), Buffer.from([0])]);
}

/** Codes of three bits, and the table emptied before it needs four. */
function lzw(pixels: number[]): Buffer {
  const [empty, end] = [4, 5];
  const codes = pixels.flatMap((pixel, n) => (n % 2 === 0 ? [empty, pixel] : [pixel]));
  codes.push(end);
  const bytes = Buffer.alloc(Math.ceil((codes.length * 3) / 8));
  for (const [n, code] of codes.entries())
    for (let bit = 0; bit < 3; bit++) if (code & (1 << bit)) bytes[(n * 3 + bit) >> 3]! |= 1 << ((n * 3 + bit) & 7);
  return bytes;
}

function subBlocks(data: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < data.length; at += 255) {
    const piece = data.subarray(at, at + 255);
    blocks.push(Buffer.from([piece.length]), piece);
  }
  return Buffer.concat(blocks);
}

/** What browsers show of each frame, RGBA: they clear to nothing, whatever the background colour. */
export function shownBy(width: number, height: number, frames: Frame[]): Buffer[] {
  let canvas = Buffer.alloc(width * height * 4);
  return frames.map(({ left, top, width: w, height: h, colour, right = colour, disposal, hole }) => {
    const before = Buffer.from(canvas);
    const shown = Buffer.from(canvas);
    const after = Buffer.from(canvas);
    for (let y = top; y < Math.min(height, top + h); y++)
      for (let x = left; x < Math.min(width, left + w); x++) {
        const at = (y * width + x) * 4;
        const index = x - left < w / 2 ? colour : right;
        if (index !== hole) shown.set([...colours[index]!, 255], at);
        after.fill(0, at, at + 4);
      }
    canvas = disposal === 2 ? after : disposal === 3 ? before : Buffer.from(shown);
    return shown;
  });
}
