import { appendFile } from 'node:fs/promises';
import { codeOf } from '../../base/errors.ts';
import { corrupt, judge } from './judge.ts';
import type { Picture } from './open.ts';
import { withOwnError } from './own-error.ts';

/** What happens to a picture that has lost a visible part: an error, or the part that is there (MEDIA_TRUNCATED). */
export type Truncated = 'refuse' | 'deliver';

/** Which complaints of libvips end the decoding: `warning` all, `error` all but the small ones, `none` none. */
type FailOn = 'warning' | 'error' | 'none';

/**
 * Decodes a picture that must be complete. A missing end marker loses nothing. Other cut-off pictures are an error, or
 * with `truncated: 'deliver'` decoded as far as the file goes, the rest grey or transparent.
 * @param frames how many frames are decoded
 * @throws what `judge` makes of libvips's errors
 */
export async function decodeWhole<T>(
  picture: Picture,
  { truncated, frames }: { truncated: Truncated; frames: number },
  decodeOnce: (failOn: FailOn) => Promise<T>,
): Promise<{ made: T; truncated: boolean }> {
  const { path, format, structure } = picture;
  const decode = (failOn: FailOn) => withOwnError(() => decodeOnce(failOn));
  const lost = structure.cut && (structure.lostFrame ?? frames) < frames;
  if (lost && truncated === 'refuse') throw corrupt(picture, 'bytes are missing');
  try {
    // 'warning' would refuse pictures that every browser shows; 'none' would leave missing parts grey.
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
 * Adds the end marker (EOI) to a JPEG that lacks it. If it then decodes without a complaint it is whole, as libjpeg
 * warns of every missing bit.
 * @returns undefined where more is missing
 */
async function decodeClosed<T>(path: string, decode: (failOn: FailOn) => Promise<T>): Promise<T | undefined> {
  await appendFile(path, Buffer.from([0xff, 0xd9]));
  return decode('warning').catch(() => undefined);
}
