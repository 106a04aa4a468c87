import { setImmediate as breathe } from 'node:timers/promises';
import { hlg, isHdr, pq, srgbGamut, unspecified, type Coding, type Gamut } from './colour.ts';
import { srgbToLight, type Curve } from './curve.ts';

/** Rows of red, green, blue and perhaps alpha, 8 or 16 bits each. */
export type Coded = { data: Uint8Array | Uint16Array; channels: 3 | 4 };

/** Pixels converted before other tasks get a turn: a few milliseconds. */
const atATime = 100_000;

/**
 * Converts pixels of another coding to 8-bit sRGB. HDR is tone-mapped as pictureFilters does it for video: in units of
 * 100 cd/m2, Hable's curve maps the peak to white, with one factor for all three channels so that hues stay. 4 million
 * pixels take a quarter of a second.
 */
export async function toSrgb({ data, channels }: Coded, coding: Coding, signal: AbortSignal): Promise<Buffer> {
  const out = Buffer.allocUnsafeSlow(data.length);
  const max = data instanceof Uint16Array ? 65_535 : 255;
  const convert = converter(coding, max);
  for (let from = 0; from < data.length; from += atATime * channels) {
    signal.throwIfAborted();
    const to = Math.min(data.length, from + atATime * channels);
    convert(data, out, from, to, channels);
    if (channels === 4) for (let at = from + 3; at < to; at += 4) out[at] = Math.round((data[at]! * 255) / max);
    await breathe();
  }
  return out;
}

function converter(coding: Coding, max: number) {
  const hdr = isHdr(coding);
  const primaries = coding.primaries === unspecified && hdr ? 9 : coding.primaries;
  const gamut = coding.gamut ?? gamuts[primaries] ?? srgbGamut;
  const linear = linearTable(coding, max);
  const [rr, rg, rb, gr, gg, gb, br, bg, bb] = toBt709(gamut) as Nine;
  const [kr, kg, kb] = luminance(gamut);
  const ootf = coding.transfer === hlg;
  const white = hable(Math.max(1, (coding.peak ?? usualPeak) / 100));
  return (data: Coded['data'], out: Buffer, from: number, to: number, channels: number) => {
    for (let at = from; at < to; at += channels) {
      let r = linear[data[at]!]!;
      let g = linear[data[at + 1]!]!;
      let b = linear[data[at + 2]!]!;
      // Light on a screen of 1000 cd/m2. ITU-R BT.2100, table 5.
      const system = ootf ? 10 * (kr * r + kg * g + kb * b) ** 0.2 : 1;
      [r, g, b] = [
        (rr * r + rg * g + rb * b) * system,
        (gr * r + gg * g + gb * b) * system,
        (br * r + bg * g + bb * b) * system,
      ];
      const most = hdr ? Math.max(r, g, b, 1e-6) : 1;
      const factor = hdr ? hable(most) / (white * most) : 1;
      out[at] = encoded(r * factor);
      out[at + 1] = encoded(g * factor);
      out[at + 2] = encoded(b * factor);
    }
  };
}

/** In cd/m2; ffmpeg's tonemap uses the same where the file gives none. */
const usualPeak = 1000;
const hable = (x: number) => (x * (x * 0.15 + 0.05) + 0.004) / (x * (x * 0.15 + 0.5) + 0.06) - 0.02 / 0.3;

/** Linear light by code value: 1 is the white of an ordinary screen, or 100 cd/m2. */
function linearTable({ transfer, full, curve = curves[transfer] ?? srgbToLight }: Coding, max: number): Float32Array {
  const [black, range] = full ? [0, max] : [(max * 16) / 255, (max * 219) / 255];
  return Float32Array.from({ length: max + 1 }, (_, code) => curve(Math.min(1, Math.max(0, (code - black) / range))));
}

/** By H.273's number; others are taken as sRGB. PQ: SMPTE ST 2084; HLG: ITU-R BT.2100. */
const curves: Record<number, Curve> = {
  4: (v) => v ** 2.2,
  5: (v) => v ** 2.8,
  8: (v) => v,
  [pq]: (v) => {
    const p = v ** (1 / 78.84375);
    return 100 * (Math.max(0, p - 0.8359375) / (18.8515625 - 18.6875 * p)) ** (1 / 0.1593017578125);
  },
  [hlg]: (v) => (v <= 0.5 ? (v * v) / 3 : (Math.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12),
};

const steps = 16_383;
const srgbTable = Uint8Array.from({ length: steps + 1 }, (_, n) => {
  const light = n / steps;
  return Math.round(255 * (light <= 0.0031308 ? light * 12.92 : 1.055 * light ** (1 / 2.4) - 0.055));
});
const encoded = (light: number) => srgbTable[light <= 0 ? 0 : light >= 1 ? steps : Math.round(light * steps)]!;

type Nine = [number, number, number, number, number, number, number, number, number];
type Three = [number, number, number];

const d65 = srgbGamut[3];

/** By H.273's number; white is D65, or close to it. */
const gamuts: Record<number, Gamut> = {
  5: [[0.64, 0.33], [0.29, 0.6], [0.15, 0.06], d65],
  6: [[0.63, 0.34], [0.31, 0.595], [0.155, 0.07], d65],
  7: [[0.63, 0.34], [0.31, 0.595], [0.155, 0.07], d65],
  9: [[0.708, 0.292], [0.17, 0.797], [0.131, 0.046], d65],
  11: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06], d65],
  12: [[0.68, 0.32], [0.265, 0.69], [0.15, 0.06], d65],
  22: [[0.63, 0.34], [0.295, 0.605], [0.155, 0.077], d65],
};

const toBt709 = (gamut: Gamut): number[] =>
  multiply(inverse(toXyz(srgbGamut)), multiply(adaptation(gamut[3]), toXyz(gamut)));
const luminance = (gamut: Gamut) => toXyz(gamut).slice(3, 6) as Three;

/** Matrix from linear RGB to XYZ, three rows. http://www.brucelindbloom.com/Eqn_RGB_XYZ_Matrix.html */
function toXyz([red, green, blue, white]: Gamut): number[] {
  const corners = [red, green, blue].map(xyzOf);
  const columns = [0, 1, 2].flatMap((row) => corners.map((corner) => corner[row]!));
  const share = apply(inverse(columns), xyzOf(white));
  return columns.map((value, n) => value * share[n % 3]!);
}

/** Matrix that adapts this white to D65. http://www.brucelindbloom.com/Eqn_ChromAdapt.html */
function adaptation(white: Gamut[number]): number[] {
  const [from, to] = [white, d65].map((xy) => apply(bradford, xyzOf(xy))) as [Three, Three];
  return multiply(
    inverse(bradford),
    bradford.map((value, n) => (value * to[Math.floor(n / 3)]!) / from[Math.floor(n / 3)]!),
  );
}

const bradford = [0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296];

const xyzOf = ([x, y]: Gamut[number]): Three => [x / y, 1, (1 - x - y) / y];

const apply = (matrix: number[], vector: Three): Three =>
  [0, 3, 6].map((row) => vector.reduce((sum, value, n) => sum + matrix[row + n]! * value, 0)) as Three;

const multiply = (a: number[], b: number[]): number[] =>
  a.map((_, n) => [0, 1, 2].reduce((sum, k) => sum + a[n - (n % 3) + k]! * b[k * 3 + (n % 3)]!, 0));

function inverse(matrix: number[]): number[] {
  const [a, b, c, d, e, f, g, h, i] = matrix as Nine;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const adjugate = [e * i - f * h, c * h - b * i, b * f - c * e, f * g - d * i, a * i - c * g, c * d - a * f];
  return [...adjugate, d * h - e * g, b * g - a * h, a * e - b * d].map((value) => value / det);
}
