import { open } from 'node:fs/promises';
import { piece } from './heif/boxes.ts';

/**
 * What the samples of a picture mean, in the numbers of ITU-T H.273. `full`: from 0 on, and not from 16 (of 255). `peak`: the brightest of an HDR
 * picture, in cd/m2, if it says so.
 */
export type Coding = { primaries: number; transfer: number; matrix: number; full: boolean; peak?: number };

/** Of H.273, what counts as unspecified. */
export const unspecified = 2;
export const pq = 16;
export const hlg = 18;

export const isHdr = ({ transfer }: Coding) => transfer === pq || transfer === hlg;

/** BT.709, BT.601, BT.2020 for ordinary screens and sRGB itself: browsers show all of them as sRGB. */
const likeSrgb = [1, unspecified, 6, 13, 14, 15];

/** Whether RGB that is coded so is what an ordinary screen shows, near enough. */
const isSrgb = ({ primaries, transfer, full }: Coding): boolean =>
  full && likeSrgb.includes(transfer) && (primaries === 1 || primaries === unspecified);

/**
 * How the RGB is to be understood, where it is not by the profile that comes with it. PNG's cICP counts before a profile, a profile before
 * the colr box (which says then only how YUV becomes RGB); and a profile that names an HDR curve is one only in name, since what is inside is for HDR screens.
 * https://www.w3.org/TR/png-3/#cICP-chunk, https://aomediacodec.github.io/av1-avif/#colour
 */
export function chooseCoding(
  coding: Coding | undefined,
  profile: Buffer | undefined,
  format: string,
): Coding | undefined {
  // That a profile is not to count has to be told, even where it is sRGB in its place.
  if (format === 'png' && coding) return profile || !isSrgb(coding) ? coding : undefined;
  const chosen = profile ? codingInProfile(profile) : coding;
  const counts = chosen && (profile ? isHdr(chosen) : !isSrgb(chosen));
  return counts ? chosen : undefined;
}

/** The tag cicp of an ICC profile. ICC.1:2022, 9.2.17 and 10.3 */
function codingInProfile(profile: Buffer): Coding | undefined {
  const tags = profile.length < 132 ? 0 : Math.min(profile.readUInt32BE(128), 100);
  for (let at = 132; at < 132 + tags * 12 && at + 12 <= profile.length; at += 12) {
    const offset = profile.readUInt32BE(at + 4);
    if (profile.toString('latin1', at, at + 4) !== 'cicp' || offset + 12 > profile.length) continue;
    return codingOf(profile.subarray(offset + 8, offset + 12));
  }
  return undefined;
}

/** The chunk cICP of a PNG, before its pixels, and how bright it becomes: cLLI, else mDCV. */
export async function readPngCoding(path: string): Promise<Coding | undefined> {
  const file = await open(path);
  const found = new Map<string, Buffer>();
  try {
    const { size } = await file.stat();
    for (let at = 8, n = 0; at + 12 <= size && n < 100; n++) {
      const head = await piece(file, at, 8);
      const [bytes, type] = [head.readUInt32BE(0), head.toString('latin1', 4)];
      if (type === 'IDAT' || at + bytes > size) break;
      if (lengths[type] === bytes) found.set(type, await piece(file, at + 8, bytes));
      at += 12 + bytes;
    }
  } finally {
    await file.close();
  }
  const cicp = found.get('cICP');
  return cicp && withPeak(codingOf(cicp), found.get('cLLI')?.readUInt32BE(0), found.get('mDCV')?.readUInt32BE(16));
}

const lengths: Record<string, number> = { cICP: 4, cLLI: 8, mDCV: 24 };

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
