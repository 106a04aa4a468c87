import { messageOf, PermanentError, RetryableError } from '../../base/errors.ts';
import { label, type Format } from './sniff.ts';
import type { Structure } from './structure/check.ts';

/** The slowest legal picture takes seconds; what takes longer is stuck, or the machine is. */
export const timeoutSeconds = 120;

/** Of a picture, what its faults are judged by. */
export type Judged = { format: Format; structure: Structure };

// Of all that libvips says when it fails, these are about the machine and may pass; the rest is about the picture.
const notThePicture = /out of memory|bad_alloc|unable to open|too many open files|input file is missing/i;
// Limits of libvips, libpng, libtiff and libheif, which are no fault of the file.
const limit = /\blimit|too many/i;
// libjpeg's words where it runs out of bytes: the blocks of a JPEG do not say how long its scans are.
const endOfJpeg = /premature end of (JPEG|input)/i;

/** What an error of libvips means. */
export function judge(error: unknown, picture: Judged): unknown {
  const message = messageOf(error);
  if (message.startsWith('timeout')) return tooSlow(picture.format);
  if (notThePicture.test(message)) return error;
  if (limit.test(message))
    return new PermanentError('image_too_large', `the ${label[picture.format]} exceeds a limit: ${reason(message)}`);
  const cut = picture.structure.cut || (picture.format === 'jpeg' && endOfJpeg.test(message));
  return corrupt({ ...picture, structure: { cut } }, reason(message), error);
}

/** @param why the decoder's own words, which say nothing new where the file is cut off */
export const corrupt = ({ format, structure }: Judged, why: string, cause?: unknown) =>
  structure.cut
    ? new PermanentError(
        'media_truncated',
        `the ${label[format]} is cut off: the file ends before the picture does. Send the whole file, or set ` +
          `MEDIA_TRUNCATED=deliver to show what there is of it`,
        { cause },
      )
    : new PermanentError('image_corrupt', `the ${label[format]} is damaged: ${why}`, { cause });

export const tooSlow = (format: Format) =>
  new RetryableError('image_timeout', `the ${label[format]} took more than ${timeoutSeconds} s to decode`);

/** The decoder's own words, without the notes on how it got there: those name the file, which is a temporary one of ours. */
function reason(message: string): string {
  const lines = message.split('\n').filter((line) => !line.includes('bad seek'));
  const telling = lines
    .map((line) => line.replace(/^(Input file has corrupt header:|\/\S*:)/, '').trim())
    .filter(Boolean);
  return telling[0]?.slice(0, 200) ?? 'it has no readable header';
}
