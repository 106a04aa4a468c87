import { stat } from 'node:fs/promises';
import type { Metadata, SharpOptions } from 'sharp';
import { PermanentError } from '../../base/errors.ts';
import { sharp } from '../sharp.ts';
import { sniffImage, type Format } from '../sniff.ts';
import { checkStructure, type Structure } from '../structure.ts';
import { maxPixels } from '../structure/limits.ts';
import { mendGif, type MendedGif } from './gif.ts';
import { judge, type Judged } from './judge.ts';
import { lengthenWebp } from './whole.ts';

/** What a picture file is, measured before it is decoded. */
export type Source = {
  format: Format;
  /** Pixels, as the picture is to be seen: after orientation. */
  width: number;
  height: number;
  bytes: number;
  /** How it is stored, as EXIF has it: 1 upright, 2 to 8 turned or mirrored. What is made of it is upright. */
  orientation: number;
  /**
   * Frames of an animation, or pages of a TIFF, of which the first is read; 1 for a still, and for an animated PNG, which is read as the
   * still it also is.
   */
  pages: number;
  has_alpha: boolean;
  /** The file is cut off, and this is what there is of the picture; all of it where only the mark at the end is missing. */
  truncated?: true;
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
export type Header = Source & Layout & Structure;

/** A picture file that was looked at and found fit to be decoded, if there is memory. */
export type Picture = {
  /** The file to read, and which of the pictures in it is the first. */
  path: string;
  page: number;
  /** Of a GIF that libnsgif would not show as browsers do: the one beside it that is read instead. */
  mended: MendedGif | undefined;
  format: Format;
  source: Source;
  layout: Layout;
  structure: Structure;
  /** Its ICC profile. */
  profile: Buffer | undefined;
};

export const readOptions = {
  autoOrient: true,
  limitInputPixels: maxPixels,
  limitInputChannels: 5,
  sequentialRead: true,
  pages: 1,
} satisfies SharpOptions;

/**
 * Looks at a picture without decoding it.
 * @throws PermanentError `empty_file`, `not_an_image`, `unsupported_image_format`, `image_too_large`, `image_corrupt`,
 *   `media_truncated`
 */
export async function openPicture(path: string): Promise<Picture> {
  const format = await sniffImage(path);
  const structure = await checkStructure(path, format);
  const { size: bytes } = await stat(path);
  if (format === 'webp') await lengthenWebp(path);
  const mended = format === 'gif' ? await mendGif(path, structure) : undefined;
  const meta = await readHeader(mended?.path ?? path, { format, structure });
  if (format === 'heic' && meta.compression !== 'hevc')
    throw new PermanentError(
      'unsupported_image_format',
      `the HEIF file holds ${meta.compression ?? 'no'} pictures, not HEVC`,
    );
  return {
    path: mended?.path ?? path,
    page: mended?.page ?? 0,
    mended,
    format,
    structure,
    source: {
      format,
      width: meta.autoOrient.width,
      height: meta.autoOrient.height,
      bytes,
      orientation: meta.orientation ?? 1,
      pages: format === 'heic' ? 1 : (structure.gif?.frames.length ?? meta.pages ?? 1),
      has_alpha: meta.hasAlpha,
    },
    layout: { channels: meta.channels, deep: meta.depth !== 'uchar', interlaced: meta.isProgressive },
    profile: meta.icc,
  };
}

async function readHeader(path: string, picture: Judged): Promise<Metadata> {
  try {
    return await sharp(path, { ...readOptions, failOn: 'none', limitInputPixels: false }).metadata();
  } catch (error) {
    throw judge(error, picture);
  }
}
