import { readFile, stat } from 'node:fs/promises';
import type { Metadata, SharpOptions } from 'sharp';
import { PermanentError } from '../../base/errors.ts';
import { sharp } from './sharp.ts';
import { sniffImage, type Format } from './sniff.ts';
import { checkStructure, type Structure } from './structure/check.ts';
import { maxPixels } from './structure/limits.ts';
import { chooseCoding, readPngCoding, type Coding } from './colour.ts';
import { correctGif, type CorrectedGif } from './gif.ts';
import { readHeif, shownSize, type Heif, type Turn } from './heif/header.ts';
import { corrupt, judge, type Judged } from './judge.ts';
import { withOwnError } from './own-error.ts';
import { lengthenWebp } from './webp.ts';

/** A picture file, as measured before it is decoded. */
export type Source = {
  format: Format;
  /** In pixels, as displayed: after orientation. */
  width: number;
  height: number;
  bytes: number;
  /** EXIF's orientation of the stored pixels: 1 upright, 2 to 8 rotated or mirrored. What is made of it is upright. */
  orientation: number;
  /**
   * Frames of an animation, or pages of a TIFF, of which the first is used; 1 for a still picture. Of animated PNG,
   * AVIF and HEIC the still picture is used. Frames are counted for AVIF and HEIC; a PNG counts as 1.
   */
  pages: number;
  has_alpha: boolean;
  /** The file is cut off, and this is the part that is there; nothing is lost where only the end marker is missing. */
  truncated?: true;
};

/** How the pixels are stored. */
type Layout = {
  channels: number;
  /** More than 8 bits a sample: each takes two bytes. */
  deep: boolean;
  /** Progressive JPEG or interlaced PNG: no line is complete before the whole file has been read. */
  interlaced: boolean;
  /** HEIC and AVIF: samples a pixel. */
  samples?: number;
  /** HEIC and AVIF: pixels decoded at once, of one tile or of the picture. */
  unitPixels?: number;
  /** HEIC and AVIF: pixels held at once, of one row of tiles or of the picture. */
  heldPixels?: number;
  /** Not sRGB: converted after shrinking. */
  recoded?: boolean;
};

/** All that is known of a picture before it is decoded. */
export type Header = Source & Layout & Structure;

/** A picture file that passed all checks and can be decoded if there is memory. */
export type Picture = {
  /** The file to read, and the index in it of the first frame. */
  path: string;
  page: number;
  /** The corrected copy of a GIF that libnsgif would not show as browsers do. */
  corrected: CorrectedGif | undefined;
  format: Format;
  source: Source;
  layout: Layout;
  structure: Structure;
  /** The ICC profile. */
  profile: Buffer | undefined;
  /** The coding to convert from; undefined for sRGB, and where libvips converts by the profile. */
  coding: Coding | undefined;
  /** HEIC and AVIF only. */
  heif?: Heif;
  /** The rotation that is still to do; set for the PNG made of a HEIC or AVIF. */
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
 * Reads the header of a picture and checks its structure, without decoding it.
 * @throws PermanentError `empty_file`, `not_an_image`, `unsupported_image_format`, `image_too_large`, `image_corrupt`,
 *   `media_truncated`
 */
export async function openPicture(path: string): Promise<Picture> {
  const format = await sniffImage(path);
  const structure = await checkStructure(path, format);
  const { size: bytes } = await stat(path);
  if (format === 'heic' || format === 'avif') return openHeif(path, bytes, { format, structure });
  if (format === 'webp') await lengthenWebp(path);
  const corrected = format === 'gif' ? await correctGif(path, structure) : undefined;
  const meta = await readHeader(corrected?.path ?? path, { format, structure });
  const told = format === 'png' ? await readPngCoding(path) : undefined;
  const coding = chooseCoding(told, meta.icc, { format, grey: meta.channels < 3 });
  return {
    path: corrected?.path ?? path,
    page: corrected?.page ?? 0,
    corrected,
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

/** HEIC or AVIF by the codec in the file, which its brand may name wrongly. */
async function openHeif(path: string, bytes: number, sniffed: Judged): Promise<Picture> {
  const heif = await readHeif(path).catch((error: unknown) => {
    throw error instanceof RangeError ? corrupt(sniffed, error.message, error) : error;
  });
  const format = codecs[heif.codec];
  if (!format)
    throw new PermanentError(
      'unsupported_image_format',
      `The HEIF file holds pictures of type ${heif.codec}, which is neither HEVC nor AV1`,
    );
  const { structure } = sniffed;
  const { width, height, tiles } = heif.colour;
  const coding = chooseCoding(rgbCoding(heif), heif.profile, { format, grey: heif.samples === 1 });
  // The coding of a HEIC without a colr box is known only after decoding.
  const isRecoded = coding !== undefined || (heif.coding === undefined && !heif.profile);
  return {
    path,
    // libheif's index of the primary picture; it leaves hidden pictures out.
    page: format === 'avif' ? ((await readHeader(path, { format, structure }, heif)).pagePrimary ?? 0) : 0,
    corrected: undefined,
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

/** libheif gives full range, except for grey AVIF, whose range it keeps. */
function rgbCoding({ coding, codec, samples }: Heif): Coding | undefined {
  return coding && { ...coding, full: coding.full || codec !== 'av01' || samples > 1 };
}

async function readHeader(path: string, picture: Judged, heif?: Heif): Promise<Metadata> {
  try {
    const input = await inputOf(path, heif);
    const options: SharpOptions = { ...readOptions, failOn: 'none', limitInputPixels: false };
    return await withOwnError(() => sharp(input, options).metadata());
  } catch (error) {
    throw judge(error, picture);
  }
}

const mostBrandBytes = 1024;

/**
 * What sharp reads. Of an AVIF that is also animated, a copy in memory with only the still picture: sharp does not know
 * the brand of sequences, `avis`, and libheif, where it finds that brand, wants the whole animation.
 */
export async function inputOf(path: string, heif: Heif | undefined): Promise<string | Buffer> {
  if (heif?.codec !== 'av01' || heif.animation === undefined) return path;
  const file = await readFile(path);
  for (let at = 8; at < Math.min(file.readUInt32BE(0), mostBrandBytes); at += 4)
    if (['avis', 'msf1'].includes(file.toString('latin1', at, at + 4))) file.write('avif', at, 'latin1');
  file.write('free', heif.animation.at, 'latin1');
  return file;
}
