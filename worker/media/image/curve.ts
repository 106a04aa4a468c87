/** Light for a code value, both from 0 to 1. */
export type Curve = (code: number) => number;

export const srgbToLight: Curve = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);

/** Whether the curve is within half a step (of 255) of sRGB's. */
export const isSrgbCurve = (curve: Curve): boolean =>
  Array.from({ length: 17 }, (_, n) => n / 16).every(
    (v) => curve(v) >= srgbToLight(v - 1 / 510) && curve(v) <= srgbToLight(v + 1 / 510),
  );

/** A curve of an ICC profile; undefined for a type that is not known. ICC.1:2022, 10.6 and 10.18 */
export function curveOf(tag: Buffer): Curve | undefined {
  const type = tag.toString('latin1', 0, 4);
  if (tag.length < 12 || !['curv', 'para'].includes(type)) return undefined;
  return type === 'curv' ? sampled(tag) : parametric(tag);
}

function sampled(tag: Buffer): Curve | undefined {
  const count = tag.readUInt32BE(8);
  if (tag.length < 12 + count * 2) return undefined;
  if (count === 0) return (v) => v;
  if (count === 1) return power(tag.readUInt16BE(12) / 256);
  const light = (n: number) => tag.readUInt16BE(12 + n * 2) / 65_535;
  return (v) => {
    const place = v * (count - 1);
    const n = Math.min(Math.floor(place), count - 2);
    return light(n) + (light(n + 1) - light(n)) * (place - n);
  };
}

/** Count of parameters by function type. */
const lengths = [1, 3, 4, 5, 7];

function parametric(tag: Buffer): Curve | undefined {
  const kind = tag.readUInt16BE(8);
  const length = lengths[kind];
  if (length === undefined || tag.length < 12 + length * 4) return undefined;
  const numbers = Array.from({ length }, (_, n) => tag.readInt32BE(12 + n * 4) / 65_536);
  const [g = 1, a = 1, b = 0, c = 0, d = 0, e = 0, f = 0] = numbers;
  if (kind === 0) return power(g);
  const steep = (v: number) => Math.max(0, a * v + b) ** g;
  if (kind === 1) return (v) => (v >= -b / a ? steep(v) : 0);
  if (kind === 2) return (v) => (v >= -b / a ? steep(v) : 0) + c;
  return (v) => (v >= d ? steep(v) + e : c * v + f);
}

const power =
  (gamma: number): Curve =>
  (v) =>
    v ** gamma;
