import { open } from 'node:fs/promises';
import { piece } from './heif/boxes.ts';
import { curveOf, isSrgbCurve, type Curve } from './curve.ts';

type Xy = readonly [x: number, y: number];
/** Four points of CIE 1931 (x, y): three primaries and the white. */
export type Gamut = readonly [red: Xy, green: Xy, blue: Xy, white: Xy];

/**
 * How the samples of a picture are coded, in the code points of ITU-T H.273. `full`: black is 0 (full range); otherwise
 * black is 16 of 255. `peak`: the brightness of the brightest pixel of an HDR picture in cd/m2, if the file gives it.
 * `curve` and `gamut` replace `transfer` and `primaries` if the file has values that no code point names.
 */
export type Coding = {
  primaries: number;
  transfer: number;
  matrix: number;
  full: boolean;
  peak?: number;
  curve?: Curve;
  gamut?: Gamut;
};

/** H.273's code point for "unspecified". */
export const unspecified = 2;
export const pq = 16;
export const hlg = 18;

export const isHdr = ({ transfer }: Coding) => transfer === pq || transfer === hlg;

/** Transfers of BT.709, of BT.601, of BT.2020 at standard range, and of sRGB: browsers show all of them as sRGB. */
const likeSrgb = [1, unspecified, 6, 13, 14, 15];

/** Whether RGB of this coding can be shown as sRGB without a visible difference. */
const isSrgb = ({ primaries, transfer, full, curve, gamut }: Coding): boolean =>
  full && !curve && !gamut && likeSrgb.includes(transfer) && (primaries === 1 || primaries === unspecified);

/**
 * The coding from which the decoder must convert the samples. Undefined: libvips converts them correctly without it,
 * with the profile if there is one. In a PNG, `coding` (from its chunks) takes precedence over the profile. In other
 * formats, the profile takes precedence over `coding` (from the colr box), which then only says how YUV becomes RGB.
 *
 * Two kinds of profile are converted here, not by libvips. A profile that names an HDR curve, because its other values
 * are made for HDR screens. And a grey profile, because libvips applies those to 8-bit grey only.
 * https://www.w3.org/TR/png-3/#cICP-chunk, https://aomediacodec.github.io/av1-avif/#colour
 */
export function chooseCoding(
  coding: Coding | undefined,
  profile: Buffer | undefined,
  { format, grey }: { format: string; grey: boolean },
): Coding | undefined {
  // If there is a profile, an sRGB coding is returned, too: it makes the decoder ignore the profile.
  if (format === 'png' && coding) return profile || !isSrgb(coding) ? coding : undefined;
  if (!profile) return coding && !isSrgb(coding) ? coding : undefined;
  const told = codingInProfile(profile);
  if (told && isHdr(told)) return told;
  const curve = grey ? greyCurve(profile) : undefined;
  if (!curve) return undefined;
  const meant = { ...unsaid, full: coding?.full ?? true, ...(!isSrgbCurve(curve) && { curve }) };
  return isSrgb(meant) ? undefined : meant;
}

const unsaid: Coding = { primaries: unspecified, transfer: unspecified, matrix: 0, full: true };

/** The tag cicp of an ICC profile. ICC.1:2022, 9.2.17 and 10.3 */
function codingInProfile(profile: Buffer): Coding | undefined {
  const tag = tagOf(profile, 'cicp');
  return tag && tag.length >= 12 ? codingOf(tag.subarray(8, 12)) : undefined;
}

/**
 * The curve of a grey profile. Of an RGB profile, the curve of green: grey has equal values in all three channels.
 * ICC.1:2022, F.2 and F.3
 */
function greyCurve(profile: Buffer): Curve | undefined {
  const tag = tagOf(profile, { 'GRAYXYZ ': 'kTRC', 'RGB XYZ ': 'gTRC' }[profile.toString('latin1', 16, 24)]);
  return tag && curveOf(tag);
}

/** The data of a tag, from its first byte to the end of the profile. ICC.1:2022, 7.3 */
function tagOf(profile: Buffer, name: string | undefined): Buffer | undefined {
  const tags = profile.length < 132 ? 0 : Math.min(profile.readUInt32BE(128), 100);
  for (let at = 132; at < 132 + tags * 12 && at + 12 <= profile.length; at += 12)
    if (profile.toString('latin1', at, at + 4) === name) return profile.subarray(profile.readUInt32BE(at + 4));
  return undefined;
}

/**
 * Reads the coding of a PNG from the chunks before its pixels. If there is a cICP, it counts, with the peak of cLLI, or
 * of mDCV if there is no cLLI. If there is none of cICP, sRGB and iCCP, then gAMA counts, with the primaries of cHRM.
 * As browsers do, it ignores cHRM if there is no gAMA, and gAMA if cHRM is broken.
 */
export async function readPngCoding(path: string): Promise<Coding | undefined> {
  const file = await open(path);
  const found = new Map<string, Buffer>();
  let hasProfile = false;
  try {
    const { size } = await file.stat();
    for (let at = 8, n = 0; at + 12 <= size && n < 100; n++) {
      const head = await piece(file, at, 8);
      const [bytes, type] = [head.readUInt32BE(0), head.toString('latin1', 4)];
      if (type === 'IDAT' || at + bytes > size) break;
      if (lengths[type] === bytes) found.set(type, await piece(file, at + 8, bytes));
      hasProfile ||= type === 'iCCP';
      at += 12 + bytes;
    }
  } finally {
    await file.close();
  }
  const cicp = found.get('cICP');
  if (cicp) return withPeak(codingOf(cicp), found.get('cLLI')?.readUInt32BE(0), found.get('mDCV')?.readUInt32BE(16));
  const gamma = found.get('gAMA')?.readUInt32BE(0);
  if (!gamma || hasProfile || found.has('sRGB')) return undefined;
  const gamut = gamutOf(found.get('cHRM'));
  if (!gamut) return undefined;
  const curve: Curve = (v) => v ** (100_000 / gamma);
  // A gamma close to 2.2 means sRGB's curve.
  return { ...unsaid, ...(Math.abs(100_000 / gamma - 2.2) > 0.03 && { curve }), ...(!isSrgbGamut(gamut) && { gamut }) };
}

const lengths: Record<string, number> = { cICP: 4, cLLI: 8, mDCV: 24, sRGB: 1, gAMA: 4, cHRM: 32 };

/** The gamut of a cHRM chunk; sRGB's if there is no chunk; undefined if the three primaries form no triangle. */
function gamutOf(cHRM: Buffer | undefined): Gamut | undefined {
  if (!cHRM) return srgbGamut;
  const at = (n: number) => cHRM.readUInt32BE(n * 4) / 100_000;
  const [white, red, green, blue] = [0, 2, 4, 6].map((n): Xy => [at(n), at(n + 1)]) as [Xy, Xy, Xy, Xy];
  const area = (green[0] - red[0]) * (blue[1] - red[1]) - (blue[0] - red[0]) * (green[1] - red[1]);
  const gamut = [red, green, blue, white] as const;
  return Math.abs(area) < 0.001 || gamut.some(([x, y]) => y < 0.001 || x > 1 || y > 1) ? undefined : gamut;
}

const isSrgbGamut = (gamut: Gamut) =>
  gamut.every(([x, y], n) => Math.hypot(x - srgbGamut[n]![0], y - srgbGamut[n]![1]) < 0.005);

/** The primaries of ITU-R BT.709 and of sRGB. */
export const srgbGamut: Gamut = [
  [0.64, 0.33],
  [0.3, 0.6],
  [0.15, 0.06],
  [0.3127, 0.329],
];

/**
 * Adds the peak, given in units of 0.0001 cd/m2; 0 is unknown.
 * @param content the brightness of the brightest pixel
 * @param screen the brightness of the screen on which the picture was made: taken if `content` is unknown
 */
export function withPeak(coding: Coding, content: number | undefined, screen: number | undefined): Coding {
  const peak = (content || screen || 0) / 10_000;
  return peak > 0 ? { ...coding, peak } : coding;
}

const codingOf = ([primaries, transfer, matrix, full]: Uint8Array): Coding => ({
  primaries: primaries!,
  transfer: transfer!,
  matrix: matrix!,
  full: full !== 0,
});
