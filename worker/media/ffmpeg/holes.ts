import { Cursor } from '../cursor.ts';
import { fileProperties } from './ending.ts';
import { areFrames, lengthOfAdts, lengthOfMp3, tagLength, type LengthOf } from './frames.ts';

/** Formats that are parts, one behind the other. ffmpeg skips what is between them without a word. */
type Chain = {
  /** The bytes by which a part is known. */
  head: number;
  lengthOf: LengthOf;
  /** Tags are found where files were joined. The size that one states may be wrong. */
  lengthOfTag?: LengthOf;
  /** Parts that are short, and known by a few bits: several in a row are needed to go on behind a hole. */
  weak?: true;
};

/**
 * The share of a file that is lost in holes: between two of its parts, where bytes were overwritten. What is before the
 * first part or behind the last does not count. 0 for a format that shows its damage in other ways.
 * @param format as ffprobe names it
 */
export async function lostShare(path: string, format: string): Promise<number> {
  return Cursor.over(path, async (cursor) => {
    const start = await cursor.take(Math.min(4096, cursor.size));
    const chain = start && chains[format]?.(start);
    return chain ? walk(cursor, chain) : 0;
  });
}

async function walk(cursor: Cursor, chain: Chain): Promise<number> {
  const { head, lengthOf } = chain;
  let [held, lost, hole] = [0, 0, 0];
  /** What is before the first part, or behind a tag, is no hole. */
  let isBehindPart = false;
  for (let at = 0; at + head <= cursor.size;) {
    cursor.at = at;
    const bytes = (await cursor.take(head))!;
    const tag = chain.lengthOfTag?.(bytes, 0);
    if (tag !== undefined) {
      isBehindPart = false;
      at += tag;
      continue;
    }
    const length = lengthOf(bytes, 0) ?? Infinity;
    if (at + length > cursor.size) {
      const next = await nextPart(cursor, at, chain);
      hole += next - at;
      at = next;
      continue;
    }
    if (isBehindPart) lost += hole;
    isBehindPart = true;
    hole = 0;
    held += length;
    at += length;
  }
  return held === 0 ? 0 : lost / (held + lost);
}

const windowBytes = 65_536;

/** Where the next part begins, else the end of the file. */
async function nextPart(cursor: Cursor, from: number, { head, lengthOf, weak }: Chain): Promise<number> {
  for (let at = from; at + head <= cursor.size; at += windowBytes - head + 1) {
    cursor.at = at;
    const bytes = (await cursor.take(Math.min(windowBytes, cursor.size - at)))!;
    for (let n = at === from ? 1 : 0; n + head <= bytes.length; n++)
      if (weak ? areFrames(bytes, n, lengthOf) : at + n + (lengthOf(bytes, n) ?? Infinity) <= cursor.size)
        return at + n;
  }
  return cursor.size;
}

const starts = (bytes: Buffer, at: number, words: string) => bytes.toString('latin1', at, at + words.length) === words;

const sound = (lengthOf: LengthOf): Chain => ({ head: 16, weak: true, lengthOf, lengthOfTag });

function lengthOfTag(bytes: Buffer, at: number): number | undefined {
  if (starts(bytes, at, 'ID3')) return tagLength(bytes) || undefined;
  if (starts(bytes, at, 'TAG')) return 128;
  return starts(bytes, at, 'APETAGEX') ? bytes.readUInt32LE(at + 12) + 32 : undefined;
}

/** https://www.rfc-editor.org/rfc/rfc3533#section-6: what follows the fixed part is a table of lengths. */
const ogg: Chain = {
  head: 27 + 255,
  lengthOf(bytes, at) {
    if (!starts(bytes, at, 'OggS\0')) return undefined;
    const table = bytes.subarray(at + 27, at + 27 + bytes[at + 26]!);
    return 27 + table.length + table.reduce((sum, length) => sum + length, 0);
  },
};

const aviChunk = /^(\d\d[a-z_]{2}|ix\d\d|JUNK|LIST|RIFF|idx1)$/;

/** Lists with chunks of pictures and sound are entered. Chunks are padded to an even length. */
const avi: Chain = {
  head: 12,
  lengthOf(bytes, at) {
    if (!aviChunk.test(bytes.toString('latin1', at, at + 4))) return undefined;
    if (starts(bytes, at, 'RIFF') || ['movi', 'rec '].some((list) => starts(bytes, at + 8, list))) return 12;
    const length = bytes.readUInt32LE(at + 4);
    return 8 + length + (length % 2);
  },
};

/** Adobe Flash Video File Format Specification, E.4.1: sound, picture and data, and the length again behind them. */
const flv: Chain = {
  head: 11,
  lengthOf(bytes, at) {
    if (starts(bytes, at, 'FLV')) return bytes.readUInt32BE(at + 5) + 4;
    const isTag = [8, 9, 18].includes(bytes[at]! & 31) && bytes.readUIntBE(at + 8, 3) === 0;
    return isTag ? 11 + bytes.readUIntBE(at + 1, 3) + 4 : undefined;
  },
};

/** Packets of one size, if they begin with the usual data for error correction. ASF specification, 3.2 and 5.2 */
function asf(start: Buffer): Chain {
  const properties = start.indexOf(fileProperties);
  const size = properties < 0 || properties + 96 > start.length ? 0 : start.readUInt32LE(properties + 92);
  return {
    head: 24,
    lengthOf(bytes, at) {
      if (bytes.readUInt32BE(at) === asfHeader) return Number(bytes.readBigUInt64LE(at + 16)) + dataHeader;
      return size > 0 && bytes.readUIntBE(at, 3) === 0x820000 ? size : undefined;
    },
  };
}
const asfHeader = 0x3026b275;
const dataHeader = 50;

/** Packets of 188 bytes; those of cameras have a time stamp before them. */
function transport(start: Buffer): Chain {
  const stamp = start[0] === 0x47 ? 0 : 4;
  return { head: 5, weak: true, lengthOf: (bytes, at) => (bytes[at + stamp] === 0x47 ? 188 + stamp : undefined) };
}

const chains: Record<string, (start: Buffer) => Chain> = {
  mp3: () => sound(lengthOfMp3),
  aac: () => sound(lengthOfAdts),
  ogg: () => ogg,
  avi: () => avi,
  flv: () => flv,
  asf,
  mpegts: transport,
};
