import { appendFile, open } from 'node:fs/promises';
import { codeOf } from '../../base/errors.ts';
import { corrupt, judge } from './judge.ts';
import type { Picture } from './open.ts';

/** What becomes of a picture that has visibly lost a part: an error, or what there is of it (MEDIA_TRUNCATED). */
export type Truncated = 'refuse' | 'deliver';

/** Which complaints of libvips end the decoding: `warning` all, `error` those that are no trifle, `none` none. */
type FailOn = 'warning' | 'error' | 'none';

/**
 * Decodes a picture, of which all must be there. Where only the mark at the end is missing, nothing is lost. What else is cut off is
 * delivered as far as it goes, the rest grey or see-through, if `truncated` says so.
 * @param frames how many of them are decoded
 * @throws what `judge` makes of libvips's errors
 */
export async function decodeWhole<T>(
  picture: Picture,
  { truncated, frames }: { truncated: Truncated; frames: number },
  decode: (failOn: FailOn) => Promise<T>,
): Promise<{ made: T; truncated: boolean }> {
  const { path, format, structure } = picture;
  const lost = structure.cut && (structure.lostFrame ?? frames) < frames;
  if (lost && truncated === 'refuse') throw corrupt(picture, 'bytes are missing');
  try {
    // Less than 'warning', which refuses pictures that every browser shows; more than 'none', which leaves grey what is missing.
    return { made: await decode('error'), truncated: structure.cut };
  } catch (error) {
    const judged = judge(error, picture);
    if (codeOf(judged) !== 'media_truncated') throw judged;
    const closed = format === 'jpeg' ? await decodeClosed(path, decode) : undefined;
    if (closed) return { made: closed, truncated: true };
    const there = truncated === 'deliver' ? await decode('none').catch(() => undefined) : undefined;
    if (!there) throw judged;
    return { made: there, truncated: true };
  }
}

/**
 * A JPEG that lacks its last marker (EOI) is whole if it decodes without a complaint once it has one: libjpeg warns of each bit that is
 * missing. @returns undefined where something else is missing, too
 */
async function decodeClosed<T>(path: string, decode: (failOn: FailOn) => Promise<T>): Promise<T | undefined> {
  await appendFile(path, Buffer.from([0xff, 0xd9]));
  return decode('warning').catch(() => undefined);
}

const mostAdded = 100_000_000;

/**
 * Makes a WebP as long as it says it is, by zeros. libvips reads none that is shorter, be it by the byte that pads its last chunk, but
 * takes zeros for what is missing.
 */
export async function lengthenWebp(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    const { size } = await file.stat();
    const said = bytesRead === 8 ? buffer.readUInt32LE(4) + 8 : 0;
    if (said > size && said < size + mostAdded) await file.truncate(said);
  } finally {
    await file.close();
  }
}
