import { open, type FileHandle } from 'node:fs/promises';
import { Cursor } from '../cursor.ts';

/** A file that ends before its own structure does. */
export type Cut = {
  /**
   * The bytes that are missing, and the bytes that there should be. Undefined if nothing says how much followed the
   * last part.
   */
  missing: { bytes: number; of: number } | undefined;
};

/**
 * Whether a file is cut off, by the sizes that its container gives for its parts. ffmpeg plays most such files as far
 * as they go, as if that were all. Undefined if the file is complete, or its format does not say.
 */
export async function findCut(path: string): Promise<Cut | undefined> {
  const file = await open(path);
  try {
    const { buffer: head } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    const { size } = await file.stat();
    const kind = head.toString('latin1', 0, 4);
    const box = head.toString('latin1', 4, 8);
    if (kind === 'RIFF') return await endOfRiff(file, size);
    if (boxes.has(box)) return await endOfBoxes(file, size);
    const said = kind === 'caff' ? await bytesOfCaf(file, size) : bytesSaid(head, kind);
    return said !== undefined && said > size ? { missing: { bytes: said - size, of: said } } : undefined;
  } finally {
    await file.close();
  }
}

/** Some programs count their headers wrong, and the last bytes are often an index that nobody needs. */
export const isMuch = ({ bytes, of }: NonNullable<Cut['missing']>): boolean => bytes > Math.max(4096, of / 100);

/**
 * The first bytes of a Wave64 file, and of the object in an ASF file that says how large it is. ASF specification, 3.2
 */
const wave64 = Buffer.from('726966662e91cf11a5d628db04c10000', 'hex');
export const fileProperties = Buffer.from('a1dcab8c47a9cf118ee400c00c205365', 'hex');

/** The length that the head of a file states. Undefined if it does not, as in a stream that was written as it came. */
function bytesSaid(head: Buffer, kind: string): number | undefined {
  if (kind === 'FORM') return known32(head.readUInt32BE(4));
  // EBU Tech 3306: the sizes of 32 bits are all ones, and the true ones are in the chunk ds64.
  if (kind === 'RF64' || kind === 'BW64') return known(head.readBigUInt64LE(20), 8);
  if (head.subarray(0, 16).equals(wave64)) return known(head.readBigUInt64LE(16));
  if (head.readUInt32BE(0) === ebml) return bytesOfMatroska(head);
  const at = head.indexOf(fileProperties);
  if (at < 0 || at + 92 > head.length) return undefined;
  const broadcast = head.readUInt32LE(at + 88) & 1;
  return broadcast ? undefined : known(head.readBigUInt64LE(at + 40));
}

/** If the writer could not go back, the size is zero, or the largest possible number, signed or unsigned. */
const known = (size: bigint, before = 0) => (size > 0n && size < 2n ** 53n ? Number(size) + before : undefined);
/** The same for a part whose size of 32 bits does not include its header of 8 bytes. */
const known32 = (size: number) => (size > 0 && size < 0x7f00_0000 ? size + 8 : undefined);

/** Walks over its chunks. An AVI over 1 GB has several RIFF chunks. */
async function endOfRiff(file: FileHandle, size: number): Promise<Cut | undefined> {
  const head = Buffer.alloc(8);
  for (let at = 0; at + 8 <= size;) {
    await file.read(head, 0, 8, at);
    if (head.toString('latin1', 0, 4) !== 'RIFF') return undefined;
    const length = known32(head.readUInt32LE(4));
    if (length === undefined) return undefined;
    const end = at + length;
    if (end > size) return { missing: { bytes: end - size, of: end } };
    at = end + (end % 2);
  }
  return undefined;
}

async function bytesOfCaf(file: FileHandle, size: number): Promise<number | undefined> {
  const head = Buffer.alloc(12);
  for (let at = 8; at + 12 <= size;) {
    await file.read(head, 0, 12, at);
    const length = known(head.readBigUInt64BE(4));
    if (length === undefined) return undefined;
    at += 12 + length;
    if (at > size) return at;
  }
  return undefined;
}

/** For an MP4 or QuickTime file. ISO/IEC 14496-12, 4.2 */
const boxes = new Set(['ftyp', 'styp', 'moov', 'mdat', 'free', 'skip', 'wide', 'pnot', 'moof', 'sidx']);

async function endOfBoxes(file: FileHandle, size: number): Promise<Cut | undefined> {
  const head = Buffer.alloc(16);
  const seen = new Set<string>();
  for (let at = 0; at + 8 <= size;) {
    await file.read(head, 0, 16, at);
    const type = head.toString('latin1', 4, 8);
    const length = lengthOfBox(head, size - at);
    // What follows the last box is no box: a few extra bytes.
    if (length < 8 || !/^[ -~\xa9]{4}$/.test(type)) break;
    seen.add(type);
    const end = at + length;
    if (end > size && ['mdat', 'moof', 'moov'].includes(type))
      // Nothing says how many fragments were to follow.
      return { missing: seen.has('moof') ? undefined : { bytes: end - size, of: end } };
    at = end;
  }
  // The index is written last. Without it nothing can be played.
  return seen.has('moov') ? undefined : { missing: undefined };
}

/** The most of an index that is searched. */
const mostIndex = 64_000_000;

/**
 * Whether the index of an MP4 has an encrypted track: its sample entry names the original format. ISO/IEC 14496-12,
 * 8.12
 */
export async function isEncrypted(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const head = Buffer.alloc(16);
    for (let at = 0; at + 16 <= size;) {
      await file.read(head, 0, 16, at);
      const type = head.toString('latin1', 4, 8);
      const length = lengthOfBox(head, size - at);
      if (length < 8 || !/^[ -~\xa9]{4}$/.test(type)) return false;
      if (type === 'moov') {
        const { buffer } = await file.read(Buffer.alloc(Math.min(length, size - at, mostIndex)), { position: at });
        return namesTrueEntry(buffer);
      }
      at += length;
    }
    return false;
  } finally {
    await file.close();
  }
}

function namesTrueEntry(moov: Buffer): boolean {
  for (let at = moov.indexOf('frma'); at >= 0; at = moov.indexOf('frma', at + 4))
    if (at >= 8 && moov.toString('latin1', at - 8, at - 4) === 'sinf') return true;
  return false;
}

/** From its header and the rest of the file: 0 means "to the end". */
function lengthOfBox(head: Buffer, left: number): number {
  const length = head.readUInt32BE(0);
  return length === 1 ? (known(head.readBigUInt64BE(8)) ?? 0) : length === 0 ? left : length;
}

const ebml = 0x1a45dfa3;
const segment = 0x18538067;

/** https://www.rfc-editor.org/rfc/rfc9559 */
function bytesOfMatroska(head: Buffer): number | undefined {
  const header = sizeAt(head, 4);
  const at = 4 + header.bytes + (header.value ?? 0);
  if (at + 12 > head.length || head.readUInt32BE(at) !== segment) return undefined;
  const { bytes, value } = sizeAt(head, at + 4);
  return value === undefined ? undefined : at + 4 + bytes + value;
}

/** A number of variable length; undefined if all its bits are ones, which means "unknown". RFC 8794, 4 */
function sizeAt(bytes: Buffer, at: number): { bytes: number; value: number | undefined } {
  const length = Math.clz32(bytes[at]!) - 23;
  if (length > 8 || at + length > bytes.length) return { bytes: 0, value: undefined };
  let value = BigInt(bytes[at]! & (0xff >> length));
  for (let n = 1; n < length; n++) value = (value << 8n) | BigInt(bytes[at + n]!);
  const unknown = value === (1n << BigInt(7 * length)) - 1n;
  return { bytes: length, value: unknown ? undefined : Number(value) };
}

const cluster = 0x1f43b675;
/** SimpleBlock, BlockGroup and EncryptedBlock: sound and picture. */
const blocks = new Set([0xa3, 0xa0, 0xaf]);
/** The other elements of a segment and of a cluster. */
const others = new Set(
  [0x114d9b74, 0x1549a966, 0x1654ae6b, 0x1043a770, 0x1c53bb6b, 0x1941a469, 0x1254c367].concat([
    0xe7, 0x5854, 0xa7, 0xab, 0xec, 0xbf,
  ]),
);
/** The longest header of an element: its id and its size. */
const longestHead = 12;

/**
 * How a Matroska file ends, by all of its elements in order: `cut` in the middle of a block or before the end of a
 * cluster; `empty` without any block. A few bytes after the last element, or an incomplete index, do no harm.
 */
export async function endOfMatroska(path: string): Promise<'whole' | 'cut' | 'broken' | 'empty'> {
  return Cursor.over(path, walk);
}

async function walk(cursor: Cursor): ReturnType<typeof endOfMatroska> {
  const { size } = cursor;
  let clusterEnd = 0;
  let whole: 'whole' | 'empty' = 'empty';
  for (let at = 0; at < size;) {
    const head = await cursor.take(Math.min(longestHead, size - at));
    const element = head && elementOf(head);
    if (!element && size - at > longestHead) return 'broken';
    if (!element) break;
    const { id, bytes, length } = element;
    const inside = id === segment || id === cluster;
    if (id === cluster) clusterEnd = length === undefined ? 0 : at + bytes + length;
    const next = at + bytes + (inside ? 0 : (length ?? 0));
    if (next > size) return blocks.has(id) ? 'cut' : whole;
    if (blocks.has(id)) whole = 'whole';
    cursor.at = next;
    at = next;
  }
  return clusterEnd > size ? 'cut' : whole;
}

/** The element with this header; undefined for one that has no place there. */
function elementOf(head: Buffer): { id: number; bytes: number; length: number | undefined } | undefined {
  const idBytes = Math.clz32(head[0]!) - 23;
  if (idBytes > 4 || idBytes > head.length) return undefined;
  const id = head.readUIntBE(0, idBytes);
  if (![ebml, segment, cluster].includes(id) && !blocks.has(id) && !others.has(id)) return undefined;
  const { bytes, value } = sizeAt(head, idBytes);
  return bytes === 0 ? undefined : { id, bytes: idBytes + bytes, length: value };
}
