import type { Format } from '../sniff.ts';
import { Cursor } from '../../cursor.ts';
import { walkGif, type GifStructure } from './gif.ts';
import { walkBoxes } from './heif.ts';
import { walkJpeg } from './jpeg.ts';
import { walkPng } from './png.ts';
import { walkTiff } from './tiff.ts';
import { walkWebp } from './webp.ts';

/** What the lengths of the blocks of a picture file tell, beyond what decoders say of its header. */
export type Structure = {
  /** The file ends before its last block does, or without the mark that says so. Of a JPEG: before its first scan. */
  cut: boolean;
  /** Of a JPEG, all channels together, as they are subsampled: 3 in 4:4:4, 2 in 4:2:2, 1.5 in 4:2:0. */
  samplesPerPixel?: number;
  /** Of a WebP or a GIF that is cut: the first frame of which bytes are missing. */
  lostFrame?: number;
  /** Of a WebP. */
  lossless?: boolean;
  gif?: NonNullable<GifStructure['gif']>;
  /** Of a TIFF: of decoded pixels, those that are held at a time. */
  bandBytes?: number;
};

/**
 * What a header does not say and reading it may cost dear: the decoders inflate every text block of a PNG (8 MB each, from 8 kB)
 * keep all metadata of a JPEG, and walk every frame of an animation (of a WebP in quadratic time) before they give its
 * dimensions. So the blocks are counted first, by their lengths alone.
 * @throws PermanentError `image_too_large` for more metadata or frames than any honest picture has; `unsupported_image_format`
 */
export function checkStructure(path: string, format: Format): Promise<Structure> {
  return Cursor.over<Structure>(path, walkers[format]);
}

const walkers: Record<Format, (cursor: Cursor) => Promise<Structure>> = {
  jpeg: walkJpeg,
  png: walkPng,
  webp: walkWebp,
  gif: walkGif,
  avif: walkBoxes,
  heic: walkBoxes,
  tiff: walkTiff,
};
