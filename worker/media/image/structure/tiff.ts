import { PermanentError } from '../../../base/errors.ts';
import type { Cursor } from '../../cursor.ts';
import { maxFrames, maxMetadataBytes, maxPixels, tooMany, tooManyPixels, tooMuchMetadata } from './limits.ts';

export type TiffStructure = {
  cut: boolean;
  /** Bytes held at once: a strip, or a row of tiles, times the copies that libvips has of it. */
  bandBytes?: number;
};

/** More tags than any real directory has. */
const maxTags = 1_000;

/**
 * Walks the directories, of which the first is used, and sums the lengths of all values that their tags point to:
 * libtiff reads every directory to count the pages, and with it every value.
 * https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf,
 * https://libtiff.gitlab.io/libtiff/specification/bigtiff.html
 * @throws PermanentError `image_too_large`, `unsupported_image_format`
 */
export async function walkTiff(cursor: Cursor): Promise<TiffStructure> {
  const head = await cursor.take(16);
  if (!head) return { cut: true };
  const tiff = layoutOf(head);
  const seen = new Set<number>();
  let first: Tags | undefined;
  let metadata = 0;
  for (let at = tiff.first; at !== 0 && !seen.has(at);) {
    if (seen.size === maxFrames) throw tooMany('TIFF', 'pages', maxFrames);
    seen.add(at);
    const directory = await readDirectory(cursor, tiff, at);
    // A missing page after the first does no harm.
    if (!directory) break;
    for (const { bytes } of directory.tags.values()) metadata += bytes;
    if (metadata > maxMetadataBytes) throw tooMuchMetadata('TIFF');
    first ??= directory.tags;
    at = directory.next;
  }
  if (!first) return { cut: true };
  for (const { bytes, valueAt } of first.values()) if (valueAt + bytes > cursor.size) return { cut: true };
  return describe(cursor, tiff, first);
}

type Tiff = { big: boolean; first: number; u16(b: Buffer, at: number): number; u32(b: Buffer, at: number): number };
type Layout = Tiff & { word(b: Buffer, at: number): number };

/** Byte order, and offsets of 32 or 64 bits. */
function layoutOf(head: Buffer): Layout {
  const little = head[0] === 0x49;
  const u16 = (b: Buffer, at: number) => (little ? b.readUInt16LE(at) : b.readUInt16BE(at));
  const u32 = (b: Buffer, at: number) => (little ? b.readUInt32LE(at) : b.readUInt32BE(at));
  const u64 = (b: Buffer, at: number) => Number(little ? b.readBigUInt64LE(at) : b.readBigUInt64BE(at));
  const big = u16(head, 2) === 43;
  return { big, u16, u32, word: big ? u64 : u32, first: big ? u64(head, 8) : u32(head, 4) };
}

/** `valueAt`: offset of the values, in the directory itself or elsewhere. `bytes`: length of all values together. */
type Tag = { type: number; count: number; bytes: number; valueAt: number };
type Tags = Map<number, Tag>;

/** Bytes of a value by type, from BYTE, which is 1. */
const sizes = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8];

/** @returns undefined where the file ends before the directory does */
async function readDirectory(
  cursor: Cursor,
  { big, u16, word }: Layout,
  at: number,
): Promise<{ tags: Tags; next: number } | undefined> {
  const [countBytes, entryBytes, wordBytes] = big ? [8, 20, 8] : [2, 12, 4];
  cursor.at = at;
  const counter = await cursor.take(countBytes);
  if (!counter) return undefined;
  const count = big ? word(counter, 0) : u16(counter, 0);
  if (count > maxTags) throw tooMany('TIFF', 'tags', maxTags);
  const entries = await cursor.take(count * entryBytes);
  if (!entries) return undefined;
  const tags: Tags = new Map();
  for (let entry = 0; entry < entries.length; entry += entryBytes) {
    const type = u16(entries, entry + 2);
    const values = word(entries, entry + 4);
    const bytes = values * (sizes[type] ?? 0);
    const inline = entry + 4 + wordBytes;
    const valueAt = bytes <= wordBytes ? at + countBytes + inline : word(entries, inline);
    tags.set(u16(entries, entry), { type, count: values, bytes, valueAt });
  }
  const next = await cursor.take(wordBytes);
  return { tags, next: next ? word(next, 0) : 0 };
}

/** Numbers of the tags that say how pixels are stored. */
const tag = {
  subfile: 254,
  width: 256,
  height: 257,
  bits: 258,
  compression: 259,
  photometric: 262,
  stripOffsets: 273,
  samples: 277,
  rowsPerStrip: 278,
  stripBytes: 279,
  planar: 284,
  tileWidth: 322,
  tileHeight: 323,
  tileOffsets: 324,
  tileBytes: 325,
  sampleFormat: 339,
} as const;

async function describe(cursor: Cursor, tiff: Layout, tags: Tags): Promise<TiffStructure> {
  const values = (number: number, most = 8) => readValues(cursor, tiff, tags.get(number), most);
  const value = async (number: number, fallback: number) => (await values(number, 1))[0] ?? fallback;

  const samples = await value(tag.samples, 1);
  const bits = await values(tag.bits);
  checkKind({
    preview: ((await value(tag.subfile, 0)) & 1) === 1,
    compression: await value(tag.compression, 1),
    photometric: await value(tag.photometric, 1),
    samples,
    bits: bits.length > 0 ? bits : [1],
    format: await value(tag.sampleFormat, 1),
  });

  const [width, height] = [await value(tag.width, 0), await value(tag.height, 0)];
  if (width * height > maxPixels) throw tooManyPixels('TIFF', width, height);
  const tiled = tags.has(tag.tileWidth);
  const across = tiled ? await value(tag.tileWidth, width) : width;
  const rows = tiled ? await value(tag.tileHeight, height) : Math.min(height, await value(tag.rowsPerStrip, height));
  if (across * rows > maxPixels) throw tooManyPixels(tiled ? 'tile of the TIFF' : 'strip of the TIFF', across, rows);
  const planar = (await value(tag.planar, 1)) === 2;
  // libvips holds a row of tiles twice, and a strip once with a plane beside it; of interleaved strips it decodes line
  // by line.
  const copies = tiled ? 2.2 : planar ? 1.6 : 1;
  const pixelBytes = samples * ((bits[0] ?? 1) > 8 ? 2 : 1);
  const bandBytes = Math.ceil(width / Math.max(1, across)) * across * rows * pixelBytes * copies;

  const [offsets, lengths] = tiled ? [tag.tileOffsets, tag.tileBytes] : [tag.stripOffsets, tag.stripBytes];
  const ends = await values(lengths, maxParts);
  const end = (await values(offsets, maxParts)).reduce((most, at, n) => Math.max(most, at + (ends[n] ?? 0)), 0);
  return { cut: end > cursor.size, bandBytes };
}

/** How many strips or tiles are checked to lie within the file. */
const maxParts = 200_000;

async function readValues(cursor: Cursor, tiff: Layout, found: Tag | undefined, most: number): Promise<number[]> {
  const bytes = sizes[found?.type ?? 0] ?? 0;
  const read = { 1: (b: Buffer, at: number) => b[at]!, 2: tiff.u16, 4: tiff.u32, 8: tiff.word }[bytes];
  if (!found || !read || (bytes === 8 && !tiff.big)) return [];
  const values: number[] = [];
  cursor.at = found.valueAt;
  for (let left = Math.min(found.count, most); left > 0; left--) {
    const value = await cursor.take(bytes);
    if (!value) break;
    values.push(read(value, 0));
  }
  return values;
}

type Kind = {
  preview: boolean;
  compression: number;
  photometric: number;
  samples: number;
  bits: number[];
  format: number;
};

/** What sharp's libtiff decompresses: none, CCITT, LZW, JPEG, Deflate by both its numbers, PackBits. */
const compressions = [1, 2, 3, 4, 5, 7, 8, 32_946, 32_773];
const otherCompressions: Record<number, string> = {
  6: 'old-style JPEG',
  9: 'JBIG',
  10: 'JBIG',
  32_766: 'NeXT',
  32_771: 'CCITT RLE with words',
  32_809: 'ThunderScan',
  32_908: 'PixarFilm',
  32_909: 'PixarLog',
  34_661: 'JBIG',
  34_676: 'SGILog',
  34_677: 'SGILog24',
  34_712: 'JPEG 2000',
  34_887: 'LERC',
  34_892: 'lossy DNG',
  34_925: 'LZMA',
  50_000: 'Zstandard',
  50_001: 'WebP',
  50_002: 'JPEG XL',
};

/** White is 0, black is 0, RGB, palette, CMYK, YCbCr, L*a*b*. */
const photometrics = [0, 1, 2, 3, 5, 6, 8];

/** @throws PermanentError `unsupported_image_format` */
function checkKind({ preview, compression, photometric, samples, bits, format }: Kind): void {
  if (preview) throw unsupported('its first picture is a preview, as in raw files from cameras');
  if (!compressions.includes(compression))
    throw unsupported(`it is compressed by ${otherCompressions[compression] ?? `number ${compression}`}`);
  if (!photometrics.includes(photometric)) throw unsupported(`it has photometric interpretation ${photometric}`);
  if (samples > 5) throw unsupported(`it has ${samples} channels, more than 5`);
  if (format > 1 && format !== 4) throw unsupported('its samples are signed or not integers');
  const depth = bits[0]!;
  const small = depth < 8 && (samples > 1 || ![0, 1, 3].includes(photometric));
  if (![1, 2, 4, 8, 16].includes(depth) || small || bits.some((channel) => channel !== depth))
    throw unsupported(`it has ${bits.join(', ')} bits a sample`);
}

const unsupported = (why: string) =>
  new PermanentError('unsupported_image_format', `This kind of TIFF is not supported: ${why}`);
