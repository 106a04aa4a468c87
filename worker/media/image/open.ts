import { stat } from 'node:fs/promises';
import type { Metadata, SharpOptions } from 'sharp';
import { PermanentError } from '../../base/errors.ts';
import { sharp } from '../sharp.ts';
import { label, sniffImage, type Format } from '../sniff.ts';
import { checkStructure } from '../structure.ts';
import { judge } from './judge.ts';

/** What a picture file is, measured before it is decoded. */
export type Source = {
  format: Format;
  /** Pixels, as the picture is to be seen: after orientation. */
  width: number;
  height: number;
  bytes: number;
  /** How it is stored, as EXIF has it: 1 upright, 2 to 8 turned or mirrored. What is made of it is upright. */
  orientation: number;
  /** Frames of an animation; 1 for a still, and for an animated PNG, which is read as the still it also is. */
  pages: number;
  has_alpha: boolean;
};

/** How its pixels are stored. */
type Layout = {
  channels: number;
  /** More than 8 bits a sample, so that each takes two bytes. */
  deep: boolean;
  /** Progressive JPEG, interlaced PNG: no line is complete before the file has been read whole. */
  interlaced: boolean;
};

/** All that is known of a picture before it is decoded. */
export type Header = Source & Layout;

/** A picture file that was looked at and found fit to be decoded, if there is memory. */
export type Picture = {
  path: string;
  source: Source;
  layout: Layout;
  /** Its ICC profile. */
  profile: Buffer | undefined;
};

/** sharp's own limit, 16383 squared. Whether a smaller one fits is a question of memory. */
export const maxPixels = 268_402_689;

export const readOptions = {
  autoOrient: true,
  // Less than 'warning', which refuses pictures that every browser shows; more than 'none', which leaves grey what is missing.
  failOn: 'error',
  limitInputPixels: maxPixels,
  limitInputChannels: 5,
  sequentialRead: true,
  pages: 1,
} satisfies SharpOptions;

/**
 * Looks at a picture without decoding it.
 * @throws PermanentError `empty_file`, `not_an_image`, `unsupported_image_format`, `image_too_large`, `image_corrupt`
 */
export async function openPicture(path: string): Promise<Picture> {
  const format = await sniffImage(path);
  await checkStructure(path, format);
  const meta = await readHeader(path, format);
  if (format === 'heic' && meta.compression !== 'hevc')
    throw new PermanentError(
      'unsupported_image_format',
      `the HEIF file holds ${meta.compression ?? 'no'} pictures, not HEVC`,
    );
  return {
    path,
    source: {
      format,
      width: meta.autoOrient.width,
      height: meta.autoOrient.height,
      bytes: (await stat(path)).size,
      orientation: meta.orientation ?? 1,
      pages: format === 'heic' ? 1 : (meta.pages ?? 1),
      has_alpha: meta.hasAlpha,
    },
    layout: { channels: meta.channels, deep: meta.depth !== 'uchar', interlaced: meta.isProgressive },
    profile: meta.icc,
  };
}

async function readHeader(path: string, format: Format): Promise<Metadata> {
  try {
    return await sharp(path, { ...readOptions, limitInputPixels: false }).metadata();
  } catch (error) {
    throw judge(error, label[format]);
  }
}
