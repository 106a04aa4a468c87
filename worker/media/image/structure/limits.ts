import { PermanentError } from '../../../base/errors.ts';

/** More than any real picture has. */
export const maxTextBlocks = 16;
export const maxMetadataBytes = 20_000_000;
export const maxFrames = 5_000;

/** sharp's own limit, 16383 squared. Smaller pictures are limited by memory. */
export const maxPixels = 268_402_689;

export function tooManyPixels(format: string, width: number, height: number): PermanentError {
  const picture = `The ${format} has ${width} x ${height} pixels`;
  return new PermanentError('image_too_large', `${picture}; at most ${maxPixels} in all are supported`);
}

export function tooMany(format: string, what: string, most: number): PermanentError {
  return new PermanentError('image_too_large', `The ${format} has more than ${most.toLocaleString('en')} ${what}`);
}

export function tooMuchMetadata(format: string): PermanentError {
  return new PermanentError('image_too_large', `The ${format} has more than ${maxMetadataBytes / 1e6} MB of metadata`);
}
