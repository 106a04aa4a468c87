import { PermanentError } from '../../../base/errors.ts';
import type { Coding } from '../colour.ts';
import type { Plane, Planes } from './libheif.ts';

/** A row of RGB(A): 8 bits where the samples have at most 8, else 16. */
export type Row = Uint8ClampedArray | Uint16Array;

/** Pixels `from` up to and without `to` of a line become those of a row, from `x` on. */
export type Columns = [from: number, to: number, x: number];

/** What one sample adds to red, green and blue. */
type Share = [red: Float32Array, green: Float32Array, blue: Float32Array];

/** Converts YUV to RGB. Pixels that share a chroma sample all take it unchanged, as libheif does. */
export class Converter {
  private readonly shares: [luma: Share, cb: Share, cr: Share];
  readonly channels: 3 | 4;

  /** @throws PermanentError `unsupported_image_format` for a matrix that is not known */
  constructor(coding: Coding, bits: number, channels: 3 | 4) {
    this.shares = sharesOf(coding, bits);
    this.channels = channels;
  }

  /** Converts pixels of line `y` of these planes into `row`. */
  line({ shift, luma, chroma }: Planes, y: number, [from, to, x]: Columns, row: Row): void {
    const { channels } = this;
    const [[yr, yg, yb], [ur, ug, ub], [vr, vg, vb]] = this.shares;
    const most = row instanceof Uint16Array ? 65_535 : 255;
    const lumaAt = y * luma.stride;
    const colourAt = chroma ? (y >> shift.down) * chroma[0].stride : 0;
    const grey = ur.length >> 1;
    for (let column = from, at = x * channels; column < to; column++, at += channels) {
      const l = luma.data[lumaAt + column]!;
      const place = colourAt + (column >> shift.across);
      const u = chroma ? chroma[0].data[place]! : grey;
      const v = chroma ? chroma[1].data[place]! : grey;
      row[at] = clamp(yr[l]! + ur[u]! + vr[v]!, most);
      row[at + 1] = clamp(yg[l]! + ug[u]! + vg[v]!, most);
      row[at + 2] = clamp(yb[l]! + ub[u]! + vb[v]!, most);
    }
  }

  /** The same for the alpha plane: full range, any depth. */
  alpha({ data, stride, bits }: Plane, y: number, [from, to, x]: Columns, row: Row): void {
    const scale = (row instanceof Uint16Array ? 65_535 : 255) / (2 ** bits - 1);
    for (let column = from, at = x * 4 + 3; column < to; column++, at += 4)
      row[at] = Math.round(data[y * stride + column]! * scale);
  }
}

const clamp = (value: number, most: number) => (value <= 0 ? 0 : value >= most ? most : (value + 0.5) | 0);

/** Kr and Kb by matrix number. ITU-T H.273, table 4. */
const weights: Record<number, [red: number, blue: number]> = {
  1: [0.2126, 0.0722],
  4: [0.3, 0.11],
  5: [0.299, 0.114],
  6: [0.299, 0.114],
  7: [0.212, 0.087],
  9: [0.2627, 0.0593],
  10: [0.2627, 0.0593],
};

function sharesOf({ primaries, matrix, full }: Coding, bits: number): [Share, Share, Share] {
  const codes = 2 ** bits;
  const most = bits > 8 ? 65_535 : 255;
  const [black, lumaRange, chromaRange] = full
    ? [0, codes - 1, codes - 1]
    : [codes / 16, (codes * 219) / 256, (codes * 224) / 256];
  const table = (factor: number, zero: number, range: number) =>
    Float32Array.from({ length: codes }, (_, code) => ((factor * (code - zero)) / range) * most);
  const luma = (factor: number) => table(factor, black, lumaRange);
  const chroma = (factor: number) => table(factor, codes / 2, chromaRange);

  // Matrix 0: green, blue and red are stored in the places of Y, Cb and Cr.
  if (matrix === 0)
    return [
      [luma(0), luma(1), luma(0)],
      [luma(0), luma(0), luma(1)],
      [luma(1), luma(0), luma(0)],
    ];
  const known = weights[matrix] ?? (matrix === 2 || matrix === 12 ? weights[primaries === 9 ? 9 : 6] : undefined);
  if (!known)
    throw new PermanentError(
      'unsupported_image_format',
      `The HEIC is coded with matrix ${matrix} of H.273, which is not supported`,
    );
  const [kr, kb] = known;
  const kg = 1 - kr - kb;
  return [
    [luma(1), luma(1), luma(1)],
    [chroma(0), chroma((-2 * kb * (1 - kb)) / kg), chroma(2 * (1 - kb))],
    [chroma(2 * (1 - kr)), chroma((-2 * kr * (1 - kr)) / kg), chroma(0)],
  ];
}
