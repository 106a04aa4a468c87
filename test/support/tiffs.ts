import { deflateSync } from 'node:zlib';
import { blue, green, red, white } from './pictures.ts';

/** Number, type (3 SHORT, 4 LONG, 16 LONG8), values. */
type Tag = [tag: number, type: number, values: number[]];

export type TiffOptions = {
  width?: number;
  height?: number;
  /** 2 RGB, 0 and 1 grey, 3 palette, 5 CMYK. */
  photometric?: number;
  bits?: 8 | 16;
  endian?: 'little' | 'big';
  /** BigTIFF. */
  big?: boolean;
  /** Channels one after the other. */
  planar?: boolean;
  /** Side of the tiles; strips where there is none. */
  tile?: number;
  rowsPerStrip?: number;
  deflate?: boolean;
  /** 0 unspecified, 1 associated (colours are multiplied by it), 2 unassociated. The right half is half see-through. */
  alpha?: 0 | 1 | 2;
  orientation?: number;
  /** In place of those that fit. */
  tags?: Tag[];
  /** The first directory again, so often. */
  pages?: number;
  /** The last directory names the first as the next. */
  loop?: boolean;
};

/**
 * A TIFF by hand: red and green quarters above blue and white ones.
 * https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
 */
export function tiff(options: TiffOptions = {}): Buffer {
  const { width = 40, height = 30, photometric = 2, bits = 8, planar = false, tile, alpha, orientation } = options;
  const channels = channelsOf(options);
  const rows = tile ?? options.rowsPerStrip ?? 8;
  const across = tile ?? width;
  const parts: Buffer[] = [];
  for (const plane of planar ? Array.from({ length: channels }, (_, n) => [n]) : [undefined])
    for (let top = 0; top < height; top += rows)
      for (let left = 0; left < width; left += across) {
        const bottom = tile ? top + rows : Math.min(top + rows, height);
        parts.push(part(options, { left, top, right: left + across, bottom }, plane));
      }

  const [offsets, lengths] = tile ? [324, 325] : [273, 279];
  const tags: Tag[] = [
    [256, 4, [width]],
    [257, 4, [height]],
    [258, 3, Array<number>(channels).fill(bits)],
    [259, 3, [options.deflate ? 8 : 1]],
    [262, 3, [photometric]],
    [offsets, 4, []],
    [277, 3, [channels]],
    ...(tile
      ? ([
          [322, 4, [tile]],
          [323, 4, [tile]],
        ] as Tag[])
      : ([[278, 4, [rows]]] as Tag[])),
    [lengths, 4, parts.map((bytes) => bytes.length)],
    [284, 3, [planar ? 2 : 1]],
    ...(photometric === 3 ? ([[320, 3, palette]] as Tag[]) : []),
    ...(alpha === undefined ? [] : ([[338, 3, [alpha]]] as Tag[])),
    ...(orientation ? ([[274, 3, [orientation]]] as Tag[]) : []),
  ];
  return assemble(options, tags, offsets, parts);
}

const channelsOf = ({ photometric = 2, alpha }: TiffOptions) =>
  ({ 2: 3, 5: 4 }[photometric] ?? 1) + (alpha === undefined ? 0 : 1);

const colours = [red, green, blue, white];
const palette = [0, 1, 2].flatMap((n) => Array.from({ length: 256 }, (_, index) => (colours[index]?.[n] ?? 0) * 257));

/** One pixel, in 8 bits. */
function pixel(options: TiffOptions, x: number, y: number): number[] {
  const { width = 40, height = 30, alpha } = options;
  const right = x < width / 2 ? 0 : 1;
  const colour = colourOf(options.photometric ?? 2, right + (y < height / 2 ? 0 : 2));
  if (alpha === undefined) return colour;
  const opacity = right ? 128 : 255;
  return [...(alpha === 1 ? colour.map((value) => Math.round((value * opacity) / 255)) : colour), opacity];
}

function colourOf(photometric: number, quarter: number): number[] {
  const [r, g, b] = colours[quarter]!;
  if (photometric === 3) return [quarter];
  if (photometric === 5) return [255 - r, 255 - g, 255 - b, 0];
  if (photometric < 2) return [photometric === 0 ? 255 - g : g];
  return [r, g, b];
}

type Box = { left: number; top: number; right: number; bottom: number };

function part(options: TiffOptions, { left, top, right, bottom }: Box, plane: number[] | undefined): Buffer {
  const { bits = 8, endian = 'little', width = 40, height = 30, deflate = false } = options;
  const values: number[] = [];
  for (let y = top; y < bottom; y++)
    for (let x = left; x < right; x++) {
      const all = pixel(options, Math.min(x, width - 1), Math.min(y, height - 1));
      for (const n of plane ?? all.keys()) values.push(all[n]!);
    }
  const bytes = Buffer.alloc((values.length * bits) / 8);
  for (const [n, value] of values.entries())
    if (bits === 8) bytes[n] = value;
    else if (endian === 'little') bytes.writeUInt16LE(value * 257, n * 2);
    else bytes.writeUInt16BE(value * 257, n * 2);
  return deflate ? deflateSync(bytes) : bytes;
}

function assemble(options: TiffOptions, tags: Tag[], offsets: number, parts: Buffer[]): Buffer {
  const { big = false, endian = 'little', tags: others = [], pages = 1, loop = false } = options;
  const word = big ? 8 : 4;
  const bytes: number[] = [];
  const number = (value: number, length: number) => {
    const digits = Array.from({ length }, (_, n) => Math.floor(value / 256 ** n) % 256);
    bytes.push(...(endian === 'little' ? digits : digits.toReversed()));
  };
  const size = (type: number) => ({ 3: 2, 4: 4, 16: 8 })[type as 3] ?? 1;

  const body = Buffer.concat(parts);
  const bodyAt = big ? 16 : 8;
  let at = bodyAt;
  const starts = parts.map(({ length }) => (at += length) - length);
  const all = tags
    .map((entry): Tag => (entry[0] === offsets ? [entry[0], entry[1], starts] : entry))
    .filter(([tag]) => !others.some(([other]) => other === tag))
    .concat(others)
    .toSorted(([a], [b]) => a - b);

  // Directories one after the other, and behind each what does not fit into it.
  const directoryBytes = (big ? 8 : 2) + all.length * (big ? 20 : 12) + word;
  const firstAt = bodyAt + body.length + (body.length % 2);
  const overflow: Buffer[] = [];
  const valuesAt = firstAt + directoryBytes * pages;
  for (let page = 0; page < pages; page++) {
    let overflowAt = valuesAt;
    number(all.length, big ? 8 : 2);
    for (const [tag, type, values] of all) {
      number(tag, 2);
      number(type, 2);
      number(values.length, word);
      const length = values.length * size(type);
      if (length <= word) {
        const before = bytes.length;
        for (const value of values) number(value, size(type));
        while (bytes.length < before + word) bytes.push(0);
        continue;
      }
      number(overflowAt, word);
      overflowAt += length;
      if (page > 0) continue;
      const kept = bytes.splice(0);
      for (const value of values) number(value, size(type));
      overflow.push(Buffer.from(bytes.splice(0)));
      bytes.push(...kept);
    }
    number(page < pages - 1 ? firstAt + directoryBytes * (page + 1) : loop ? firstAt : 0, word);
  }
  const directories = Buffer.from(bytes.splice(0));
  number(endian === 'little' ? 0x4949 : 0x4d4d, 2);
  number(big ? 43 : 42, 2);
  if (big) {
    number(8, 2);
    number(0, 2);
  }
  number(firstAt, word);
  return Buffer.concat([Buffer.from(bytes), body, Buffer.alloc(body.length % 2), directories, ...overflow]);
}
