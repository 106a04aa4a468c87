import { messageOf, PermanentError, RetryableError } from '../../base/errors.ts';

/** The slowest legal picture takes seconds; what takes longer is stuck, or the machine is. */
export const timeoutSeconds = 120;

// Of all that libvips says when it fails, these are about the machine and may pass; the rest is about the picture.
const notThePicture = /out of memory|bad_alloc|unable to open|too many open files|input file is missing/i;

/** What an error of libvips means. @param what the picture: `JPEG` */
export function judge(error: unknown, what: string): unknown {
  const message = messageOf(error);
  if (message.startsWith('timeout')) return tooSlow(what);
  if (notThePicture.test(message)) return error;
  return corrupt(what, reason(message), error);
}

export const tooSlow = (what: string) =>
  new RetryableError('image_timeout', `the ${what} took more than ${timeoutSeconds} s to decode`);

export const corrupt = (what: string, why: string, cause?: unknown) =>
  new PermanentError('image_corrupt', `the ${what} is damaged or cut off: ${why}`, { cause });

/** The decoder's own words, without the notes on how it got there: those name the file, which is a temporary one of ours. */
function reason(message: string): string {
  const lines = message.split('\n').filter((line) => !line.includes('bad seek'));
  const telling = lines
    .map((line) => line.replace(/^(Input file has corrupt header:|\/\S*:)/, '').trim())
    .filter(Boolean);
  return telling[0]?.slice(0, 200) ?? 'it has no readable header';
}
