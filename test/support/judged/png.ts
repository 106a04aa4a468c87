import { crc32, deflateSync } from 'node:zlib';
import { greyAt, sceneAt, size } from './scene.ts';

export type PngOptions = {
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colour: 0 | 2 | 3 | 4 | 6;
  depth: 1 | 2 | 4 | 8 | 16;
  interlaced?: boolean;
  /** Before the pixels. */
  chunks?: [type: string, data: Buffer][];
};

type Sample = (x: number, y: number) => number[];

/** The scene as a PNG. https://www.w3.org/TR/png-3/ */
export function png({ colour, depth, interlaced = false, chunks = [] }: PngOptions): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size.width, 0);
  header.writeUInt32BE(size.height, 4);
  header.set([depth, colour, 0, 0, interlaced ? 1 : 0], 8);
  const sample = sampler(colour, depth);
  const passes = (interlaced ? adam7 : [[0, 0, 1, 1] as const]).map((pass) => scanlines(sample, depth, pass));
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    ...chunks.filter(([type]) => type !== 'tRNS').map(([type, data]) => chunk(type, data)),
    ...(colour === 3 ? [chunk('PLTE', palette(depth))] : []),
    ...chunks.filter(([type]) => type === 'tRNS').map(([type, data]) => chunk(type, data)),
    chunk('IDAT', deflateSync(Buffer.concat(passes))),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** An ICC profile as a chunk. */
export const iccp = (profile: Buffer): [string, Buffer] => [
  'iCCP',
  Buffer.concat([Buffer.from('profile\0\0', 'latin1'), deflateSync(profile)]),
];

/** EXIF of an orientation, 1 to 8, and nothing else. */
export const exif = (orientation: number): [string, Buffer] => [
  'eXIf',
  Buffer.from([0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]),
];

/** First column, first row, step across, step down of the seven passes. */
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

function sampler(colour: PngOptions['colour'], depth: number): Sample {
  const most = 2 ** depth - 1;
  return (column, row) => {
    const [x, y] = [column / (size.width - 1), row / (size.height - 1)];
    const [red, green, blue, alpha] = sceneAt(x, y);
    const shares = {
      0: [greyAt(x, y)],
      2: [red, green, blue],
      3: [x],
      4: [greyAt(x, y), alpha],
      6: [red, green, blue, alpha],
    };
    return shares[colour].map((share) => Math.round(share * most));
  };
}

/** As many colours as there are indexes, from blue to orange. */
function palette(depth: number): Buffer {
  const count = 2 ** depth;
  return Buffer.from(
    Array.from({ length: count }, (_, n) => [n, n / 2, count - 1 - n]).flatMap(([red, green, blue]) =>
      [red!, green!, blue!].map((value) => Math.round((value * 255) / (count - 1))),
    ),
  );
}

function scanlines(
  sample: Sample,
  depth: number,
  [left, top, across, down]: readonly [number, number, number, number],
): Buffer {
  const rows: Buffer[] = [];
  for (let y = top; y < size.height; y += down) {
    const samples: number[] = [];
    for (let x = left; x < size.width; x += across) samples.push(...sample(x, y));
    rows.push(Buffer.alloc(1), pack(samples, depth));
  }
  return Buffer.concat(rows);
}

/** Samples as bits, the first one highest, the last byte filled up. */
export function pack(samples: number[], depth: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil((samples.length * depth) / 8));
  if (depth === 16) for (const [n, value] of samples.entries()) bytes.writeUInt16BE(value, n * 2);
  else
    for (const [n, value] of samples.entries()) {
      const bit = n * depth;
      bytes[bit >> 3]! |= value << (8 - depth - (bit & 7));
    }
  return bytes;
}

function chunk(type: string, data: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  data.copy(bytes, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}
