import { open } from 'node:fs/promises';
import { piece } from './heif/boxes.ts';
import { curveOf, isSrgbCurve, type Curve } from './curve.ts';

type Xy = readonly [x: number, y: number];
/** CIE xy. */
export type Gamut = readonly [red: Xy, green: Xy, blue: Xy, white: Xy];

/**
 * What the samples of a picture mean, in the numbers of ITU-T H.273. `full`: from 0 on, and not from 16 (of 255). `peak`: the brightest of an HDR
 * picture, in cd/m2, if it says so. `curve` and `gamut` count before transfer and primaries: for what has no number.
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

/** Of H.273, what counts as unspecified. */
export const unspecified = 2;
export const pq = 16;
export const hlg = 18;

export const isHdr = ({ transfer }: Coding) => transfer === pq || transfer === hlg;

/** BT.709, BT.601, BT.2020 for ordinary screens and sRGB itself: browsers show all of them as sRGB. */
const likeSrgb = [1, unspecified, 6, 13, 14, 15];

/** Whether RGB that is coded so is what an ordinary screen shows, near enough. */
const isSrgb = ({ primaries, transfer, full, curve, gamut }: Coding): boolean =>
  full && !curve && !gamut && likeSrgb.includes(transfer) && (primaries === 1 || primaries === unspecified);

/**
 * How the samples are to be understood, where libvips does not do it by the profile that comes with them. What a PNG says
 * counts before a profile. A profile counts before the colr box, which then only says how YUV becomes RGB. Two kinds of
 * profile are applied here: one that names an HDR curve, because what else is in it is for HDR screens; and that of a grey
 * picture, because libvips applies it to 8-bit grey only.
 * https://www.w3.org/TR/png-3/#cICP-chunk, https://aomediacodec.github.io/av1-avif/#colour
 */
export function chooseCoding(
  coding: Coding | undefined,
  profile: Buffer | undefined,
  { format, grey }: { format: string; grey: boolean },
): Coding | undefined {
  // That a profile is not to count has to be told, even where it is sRGB in its place.
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

/** The curve of a profile for grey; of one for RGB that of green, as grey stays grey by it. ICC.1:2022, F.2 and F.3 */
function greyCurve(profile: Buffer): Curve | undefined {
  const tag = tagOf(profile, { 'GRAYXYZ ': 'kTRC', 'RGB XYZ ': 'gTRC' }[profile.toString('latin1', 16, 24)]);
  return tag && curveOf(tag);
}

/** From its first byte to the end of the file. ICC.1:2022, 7.3 */
function tagOf(profile: Buffer, name: string | undefined): Buffer | undefined {
  const tags = profile.length < 132 ? 0 : Math.min(profile.readUInt32BE(128), 100);
  for (let at = 132; at < 132 + tags * 12 && at + 12 <= profile.length; at += 12)
    if (profile.toString('latin1', at, at + 4) === name) return profile.subarray(profile.readUInt32BE(at + 4));
  return undefined;
}

/**
 * What a PNG says before its pixels: by cICP, with the peak of cLLI, else of mDCV. If it has neither cICP nor sRGB nor a
 * profile: by gAMA, with the primaries of cHRM. cHRM alone does not count, and a broken one makes gAMA not count, as in
 * browsers.
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
  // Where it is that of sRGB, near enough, its curve is meant.
  return { ...unsaid, ...(Math.abs(100_000 / gamma - 2.2) > 0.03 && { curve }), ...(!isSrgbGamut(gamut) && { gamut }) };
}

const lengths: Record<string, number> = { cICP: 4, cLLI: 8, mDCV: 24, sRGB: 1, gAMA: 4, cHRM: 32 };

/** That of sRGB where it is not said; undefined where it is none: its corners make no triangle. */
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

/** ITU-R BT.709's too. */
export const srgbGamut: Gamut = [
  [0.64, 0.33],
  [0.3, 0.6],
  [0.15, 0.06],
  [0.3127, 0.329],
];

/** @param content the brightest pixel, and @param screen what it was made on, in 0.0001 cd/m2; 0 is unknown */
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
