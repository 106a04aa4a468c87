import type { Format } from '../sniff.ts';
import { Cursor } from '../../cursor.ts';
import { walkGif, type GifStructure } from './gif.ts';
import { walkBoxes } from './heif.ts';
import { walkJpeg } from './jpeg.ts';
import { walkPng } from './png.ts';
import { walkTiff } from './tiff.ts';
import { walkWebp } from './webp.ts';

/** What the block lengths of a picture file tell, in addition to the header that decoders read. */
export type Structure = {
  /** The file ends before its last block does, or without its end marker. For a JPEG: before its first scan. */
  cut: boolean;
  /** JPEG: all channels together, as subsampled: 3 for 4:4:4, 2 for 4:2:2, 1.5 for 4:2:0. */
  samplesPerPixel?: number;
  /** WebP or GIF that is cut off: index of the first frame with missing bytes. */
  lostFrame?: number;
  /** WebP only. */
  lossless?: boolean;
  gif?: NonNullable<GifStructure['gif']>;
  /** TIFF: bytes of decoded pixels held at once. */
  bandBytes?: number;
};

/**
 * Counts the blocks of a file by their lengths, before a decoder reads it. Reading a header can be expensive: the
 * decoders inflate every text block of a PNG (8 MB each, from 8 kB), keep all metadata of a JPEG, and walk through
 * every frame of an animation (of a WebP in quadratic time) before they give its dimensions.
 * @throws PermanentError `image_too_large` for more metadata or frames than any real picture has;
 *   `unsupported_image_format`
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
