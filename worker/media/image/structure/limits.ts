import { PermanentError } from '../../../base/errors.ts';

/** More than any honest picture has. */
export const maxTextBlocks = 16;
export const maxMetadataBytes = 20_000_000;
export const maxFrames = 5_000;

/** sharp's own limit, 16383 squared. Whether a smaller picture fits is a question of memory. */
export const maxPixels = 268_402_689;

export function tooManyPixels(format: string, width: number, height: number): PermanentError {
  const picture = `the ${format} has ${width} x ${height} pixels`;
  return new PermanentError('image_too_large', `${picture}, and ${maxPixels} in all is the most that is read`);
}

export function tooMany(format: string, what: string, most: number): PermanentError {
  return new PermanentError('image_too_large', `the ${format} has more than ${most.toLocaleString('en')} ${what}`);
}

export function tooMuchMetadata(format: string): PermanentError {
  return new PermanentError('image_too_large', `the ${format} has more than ${maxMetadataBytes / 1e6} MB of metadata`);
}
