import { messageOf, PermanentError, RetryableError } from '../../base/errors.ts';
import { label, type Format } from './sniff.ts';
import type { Structure } from './structure/check.ts';

/** The slowest picture within the limits takes seconds; one that takes this long hangs, or the machine does. */
export const timeoutSeconds = 120;

/** What is known of a picture when an error is judged. */
export type Judged = { format: Format; structure: Structure };

// Messages of libvips about the machine, which may pass; all others are about the picture.
const notThePicture = /out of memory|bad_alloc|unable to open|too many open files|input file is missing/i;
// sharp's word, often behind those of a decoder that reads on: libheif complains about every file.
const timeout = /^timeout: \d+% complete/m;
// Limits of libvips, libpng, libtiff and libheif: the file itself is not damaged.
const limit = /\blimit|too many/i;
// libjpeg's words for a file that ends early: the structure of a JPEG does not tell how long its scans are.
const endOfJpeg = /premature end of (JPEG|input)/i;

/** The error to throw for an error of libvips. */
export function judge(error: unknown, picture: Judged): unknown {
  const message = messageOf(error);
  if (timeout.test(message)) return tooSlow(picture.format);
  if (notThePicture.test(message)) return error;
  if (limit.test(message))
    return new PermanentError('image_too_large', `The ${label[picture.format]} exceeds a limit: ${reason(message)}`);
  const cut = picture.structure.cut || (picture.format === 'jpeg' && endOfJpeg.test(message));
  return corrupt({ ...picture, structure: { cut } }, reason(message), error);
}

/** @param why the decoder's message; not used for a file that is cut off, where it adds nothing */
export const corrupt = ({ format, structure }: Judged, why: string, cause?: unknown) =>
  structure.cut
    ? new PermanentError(
        'media_truncated',
        `The ${label[format]} is cut off: the file ends before the picture does. Send the whole file, or set ` +
          `MEDIA_TRUNCATED=deliver to show what there is of it`,
        { cause },
      )
    : new PermanentError('image_corrupt', `The ${label[format]} is damaged: ${why}`, { cause });

export const tooSlow = (format: Format) =>
  new RetryableError('image_timeout', `The ${label[format]} took more than ${timeoutSeconds} s to decode`);

/** The first telling line of the decoder's message, without the path, which is of a temporary file. */
function reason(message: string): string {
  const lines = message.split('\n').filter((line) => !line.includes('bad seek'));
  const telling = lines
    .map((line) => line.replace(/^(Input file has corrupt header:|\/\S*:)/, '').trim())
    .filter(Boolean);
  return telling[0]?.slice(0, 200) ?? 'it has no readable header';
}
