type Xy = readonly [x: number, y: number];
/** CIE xy of red, green and blue; white is D65. */
export type Primaries = readonly [Xy, Xy, Xy];

const d65: Xy = [0.3127, 0.329];
/** The white of every profile. ICC.1:2022, 7.2.16 */
const d50 = [0.9642, 1, 0.8249] as const;

export const srgb: Primaries = [
  [0.64, 0.33],
  [0.3, 0.6],
  [0.15, 0.06],
];
export const adobeRgb: Primaries = [
  [0.64, 0.33],
  [0.21, 0.71],
  [0.15, 0.06],
];
/** Nobody's, to see whether a profile counts: what is stored as red is blue. */
export const swapped: Primaries = [srgb[2], srgb[1], srgb[0]];

/** A profile of three primaries and one gamma. */
export function rgbProfile(primaries: Primaries, gamma: number): Buffer {
  const columns = columnsOf(primaries);
  return profile('RGB ', [
    ['wtpt', xyz(d50)],
    ...(['rXYZ', 'gXYZ', 'bXYZ'] as const).map((tag, n): Tag => [tag, xyz(columns[n]!)]),
    ...(['rTRC', 'gTRC', 'bTRC'] as const).map((tag): Tag => [tag, curve(gamma)]),
  ]);
}

/** @param light a gamma, or a tag that is a curve */
export const greyProfile = (light: number | Buffer): Buffer =>
  profile('GRAY', [
    ['wtpt', xyz(d50)],
    ['kTRC', typeof light === 'number' ? curve(light) : light],
  ]);

type Tag = [name: string, data: Buffer];

/** Version 2, which every reader knows. ICC.1:2001-04, 6.1 */
function profile(space: 'RGB ' | 'GRAY', tags: Tag[]): Buffer {
  const all: Tag[] = [['desc', description('made for a test')], ['cprt', text('none')], ...tags];
  const head = Buffer.alloc(128);
  head.writeUInt32BE(0x02400000, 8);
  head.write('mntr' + space + 'XYZ ', 12, 'latin1');
  head.write('acsp', 36, 'latin1');
  for (const [n, value] of d50.entries()) head.writeInt32BE(Math.round(value * 65_536), 68 + n * 4);
  const table = Buffer.alloc(4 + all.length * 12);
  table.writeUInt32BE(all.length, 0);
  let at = head.length + table.length;
  for (const [n, [name, data]] of all.entries()) {
    table.write(name, 4 + n * 12, 'latin1');
    table.writeUInt32BE(at, 8 + n * 12);
    table.writeUInt32BE(data.length, 12 + n * 12);
    at += data.length;
  }
  head.writeUInt32BE(at, 0);
  return Buffer.concat([head, table, ...all.map(([, data]) => data)]);
}

const text = (words: string) => padded(Buffer.from(`text\0\0\0\0${words}\0`, 'latin1'));

function description(words: string): Buffer {
  const head = Buffer.from('desc\0\0\0\0\0\0\0\0', 'latin1');
  head.writeUInt32BE(words.length + 1, 8);
  return padded(Buffer.concat([head, Buffer.from(`${words}\0`, 'latin1'), Buffer.alloc(78)]));
}

function xyz(values: readonly number[]): Buffer {
  const bytes = Buffer.from('XYZ \0\0\0\0'.padEnd(20, '\0'), 'latin1');
  for (const [n, value] of values.entries()) bytes.writeInt32BE(Math.round(value * 65_536), 8 + n * 4);
  return bytes;
}

function curve(gamma: number): Buffer {
  const bytes = Buffer.from('curv\0\0\0\0\0\0\0\x01\0\0\0\0', 'latin1');
  bytes.writeUInt16BE(Math.round(gamma * 256), 12);
  return bytes;
}

const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);

/** XYZ of the primaries, scaled so that together they are white, and adapted to D50 by Bradford's matrix. */
function columnsOf(primaries: Primaries): number[][] {
  const columns = primaries.map(toXyz);
  const scales = multiply(inverse(transposed(columns)), toXyz(d65));
  return columns.map((column, n) =>
    multiply(
      adaptation,
      column.map((value) => value * scales[n]!),
    ),
  );
}

const toXyz = ([x, y]: Xy) => [x / y, 1, (1 - x - y) / y];

/** http://www.brucelindbloom.com/Eqn_ChromAdapt.html, D65 to D50 */
const adaptation = [
  [1.0478112, 0.0228866, -0.050127],
  [0.0295424, 0.9904844, -0.0170491],
  [-0.0092345, 0.0150436, 0.7521316],
];

const multiply = (matrix: number[][], vector: number[]) =>
  matrix.map((row) => row.reduce((sum, value, n) => sum + value * vector[n]!, 0));

const transposed = (matrix: number[][]) => matrix.map((_, n) => matrix.map((row) => row[n]!));

function inverse(matrix: number[][]): number[][] {
  const [a, b, c, d, e, f, g, h, i] = matrix.flat() as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((value) => value / determinant));
}
