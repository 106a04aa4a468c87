import { readFile, stat } from 'node:fs/promises';
import type { Metadata, SharpOptions } from 'sharp';
import { PermanentError } from '../../base/errors.ts';
import { sharp } from './sharp.ts';
import { sniffImage, type Format } from './sniff.ts';
import { checkStructure, type Structure } from './structure/check.ts';
import { maxPixels } from './structure/limits.ts';
import { chooseCoding, readPngCoding, type Coding } from './colour.ts';
import { mendGif, type MendedGif } from './gif.ts';
import { readHeif, shownSize, type Heif, type Turn } from './heif/header.ts';
import { corrupt, judge, type Judged } from './judge.ts';
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
   * still it also is. So are animated AVIF and HEIC, but they tell how many frames there are.
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
  /** Of HEIC and AVIF: samples a pixel, and the pixels that are decoded in one go, and held. */
  samples?: number;
  unitPixels?: number;
  heldPixels?: number;
  /** Its numbers are not those of sRGB, and are converted when it has been shrunk. */
  recoded?: boolean;
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
  /** What its samples mean, where it is neither sRGB nor for the profile to say. */
  coding: Coding | undefined;
  /** Of HEIC and AVIF. */
  heif?: Heif;
  /** How it still has to be turned; for what is written of a HEIC. */
  turn?: Turn;
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
  if (format === 'heic' || format === 'avif') return openHeif(path, bytes, { format, structure });
  if (format === 'webp') await lengthenWebp(path);
  const mended = format === 'gif' ? await mendGif(path, structure) : undefined;
  const meta = await readHeader(mended?.path ?? path, { format, structure });
  const told = format === 'png' ? await readPngCoding(path) : undefined;
  const coding = chooseCoding(told, meta.icc, { format, grey: meta.channels < 3 });
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
      pages: structure.gif?.frames.length ?? meta.pages ?? 1,
      has_alpha: meta.hasAlpha,
    },
    layout: {
      channels: meta.channels,
      deep: meta.depth !== 'uchar',
      interlaced: meta.isProgressive,
      recoded: coding !== undefined,
    },
    profile: meta.icc,
    coding,
  };
}

const codecs: Record<string, 'heic' | 'avif'> = { hvc1: 'heic', av01: 'avif' };

/** HEIC or AVIF by what is in it: what the file calls itself need not be so. */
async function openHeif(path: string, bytes: number, sniffed: Judged): Promise<Picture> {
  const heif = await readHeif(path).catch((error: unknown) => {
    throw error instanceof RangeError ? corrupt(sniffed, error.message, error) : error;
  });
  const format = codecs[heif.codec];
  if (!format)
    throw new PermanentError(
      'unsupported_image_format',
      `the HEIF file holds pictures of type ${heif.codec}, which is neither HEVC nor AV1`,
    );
  const { structure } = sniffed;
  const { width, height, tiles } = heif.colour;
  const coding = chooseCoding(rgbCoding(heif), heif.profile, { format, grey: heif.samples === 1 });
  // That of a HEIC without a colr box is known when it has been decoded.
  const isRecoded = coding !== undefined || (heif.coding === undefined && !heif.profile);
  return {
    path,
    // Which it is by libheif's count, in which hidden ones are left out.
    page: format === 'avif' ? ((await readHeader(path, { format, structure }, heif)).pagePrimary ?? 0) : 0,
    mended: undefined,
    format,
    structure,
    source: {
      format,
      ...shownSize(heif),
      bytes,
      orientation: 1,
      pages: heif.animation?.frames ?? 1,
      has_alpha: heif.alpha !== undefined,
    },
    layout: {
      channels: heif.alpha ? 4 : 3,
      deep: heif.bits > 8,
      interlaced: false,
      samples: heif.samples,
      unitPixels: tiles ? tiles.width * tiles.height : width * height,
      heldPixels: tiles ? tiles.width * tiles.height * tiles.columns : width * height,
      recoded: isRecoded,
    },
    profile: heif.profile,
    coding,
    heif,
  };
}

/** What is decoded is of full range; but for grey, which libheif takes as it is. */
function rgbCoding({ coding, codec, samples }: Heif): Coding | undefined {
  return coding && { ...coding, full: coding.full || codec !== 'av01' || samples > 1 };
}

async function readHeader(path: string, picture: Judged, heif?: Heif): Promise<Metadata> {
  try {
    return await sharp(await inputOf(path, heif), {
      ...readOptions,
      failOn: 'none',
      limitInputPixels: false,
    }).metadata();
  } catch (error) {
    throw judge(error, picture);
  }
}

const mostBrandBytes = 1024;

/**
 * What sharp is to read: of an AVIF that is also animated, only the still. sharp does not know the brand of sequences, avis, and where libheif finds
 * one it wants a whole animation, too.
 */
export async function inputOf(path: string, heif: Heif | undefined): Promise<string | Buffer> {
  if (heif?.codec !== 'av01' || heif.animation === undefined) return path;
  const file = await readFile(path);
  for (let at = 8; at < Math.min(file.readUInt32BE(0), mostBrandBytes); at += 4)
    if (['avis', 'msf1'].includes(file.toString('latin1', at, at + 4))) file.write('avif', at, 'latin1');
  file.write('free', heif.animation.at, 'latin1');
  return file;
}
