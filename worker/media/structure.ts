import { open, type FileHandle } from 'node:fs/promises';
import { PermanentError } from '../base/errors.ts';
import type { Format } from './sniff.ts';

/**
 * What a header does not say and reading it may cost dear: the decoders inflate every text block of a PNG (8 MB each, from 8 kB)
 * keep all metadata of a JPEG, and walk every frame of an animation (of a WebP in quadratic time) before they give its
 * dimensions. So the blocks are counted first, by their lengths alone.
 *
 * https://www.w3.org/TR/png-3/#5Chunk-layout, https://developers.google.com/speed/webp/docs/riff_container,
 * https://www.w3.org/Graphics/GIF/spec-gif89a.txt
 */
const maxTextBlocks = 16;
const maxMetadataBytes = 20_000_000;
const maxFrames = 5_000;

/** @throws PermanentError `image_too_large` for more metadata or frames than any honest picture has */
export async function checkStructure(path: string, format: Format): Promise<void> {
  const count = counters[format];
  if (!count) return;
  const file = await open(path);
  try {
    await count(new Cursor(file));
  } finally {
    await file.close();
  }
}

const counters: Partial<Record<Format, (cursor: Cursor) => Promise<void>>> = {
  jpeg: sumJpegMetadata,
  png: countPngTexts,
  webp: countWebpFrames,
  gif: countGifFrames,
};

/** Marker and length, up to the start of the scan: the APPn and COM segments. ISO/IEC 10918-1, annex B. */
async function sumJpegMetadata(cursor: Cursor): Promise<void> {
  let metadata = 0;
  cursor.skip(2);
  for (;;) {
    const head = await cursor.take(4);
    if (head?.[0] !== 0xff || head[1] === 0xda) return;
    const length = head.readUInt16BE(2);
    if (head[1]! >= 0xe0) metadata += length;
    if (metadata > maxMetadataBytes) throw tooMuchMetadata('JPEG');
    cursor.skip(Math.max(0, length - 2));
  }
}

/** Length, type, data, checksum; the data skipped. */
async function countPngTexts(cursor: Cursor): Promise<void> {
  let [texts, metadata] = [0, 0];
  cursor.skip(8);
  for (;;) {
    const head = await cursor.take(8);
    if (!head) return;
    const length = head.readUInt32BE(0);
    const type = head.toString('latin1', 4);
    if (type === 'IEND') return;
    if (['zTXt', 'iTXt', 'iCCP'].includes(type) && ++texts > maxTextBlocks)
      throw tooMany('PNG', `text blocks`, maxTextBlocks);
    if (['tEXt', 'zTXt', 'iTXt', 'iCCP', 'eXIf'].includes(type)) metadata += length;
    if (metadata > maxMetadataBytes) throw tooMuchMetadata('PNG');
    cursor.skip(length + 4);
  }
}

/** RIFF: type, length, data, padded to even. */
async function countWebpFrames(cursor: Cursor): Promise<void> {
  let frames = 0;
  cursor.skip(12);
  for (;;) {
    const head = await cursor.take(8);
    if (!head) return;
    if (head.toString('latin1', 0, 4) === 'ANMF' && ++frames > maxFrames) throw tooMany('WebP', 'frames', maxFrames);
    const length = head.readUInt32LE(4);
    cursor.skip(length + (length % 2));
  }
}

async function countGifFrames(cursor: Cursor): Promise<void> {
  const header = await cursor.take(13);
  if (!header) return;
  cursor.skip(colourTable(header[10]!));
  for (let frames = 0; ;) {
    const introducer = (await cursor.take(1))?.[0];
    if (introducer === 0x21) {
      cursor.skip(1);
    } else if (introducer === 0x2c) {
      if (++frames > maxFrames) throw tooMany('GIF', 'frames', maxFrames);
      const descriptor = await cursor.take(9);
      if (!descriptor) return;
      cursor.skip(colourTable(descriptor[8]!) + 1);
    } else return;
    for (let length = 1; length > 0; cursor.skip(length)) length = (await cursor.take(1))?.[0] ?? 0;
  }
}

/** The bytes of the colour table that a GIF's packed field announces. */
const colourTable = (packed: number) => (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0);

function tooMany(format: string, what: string, most: number): PermanentError {
  return new PermanentError('image_too_large', `the ${format} has more than ${most.toLocaleString('en')} ${what}`);
}

function tooMuchMetadata(format: string): PermanentError {
  return new PermanentError('image_too_large', `the ${format} has more than ${maxMetadataBytes / 1e6} MB of metadata`);
}

/** Reads a file forwards in pieces of 64 kB, skipping what nobody asks for. */
class Cursor {
  private readonly file: FileHandle;
  private piece = Buffer.alloc(0);
  private pieceAt = 0;
  private at = 0;
  constructor(file: FileHandle) {
    this.file = file;
  }

  skip(bytes: number): void {
    this.at += bytes;
  }

  /** The next bytes, 64 kB at most; undefined at the end of the file. Resolves at once while they are in the piece read last. */
  async take(bytes: number): Promise<Buffer | undefined> {
    const inPiece = this.at >= this.pieceAt && this.at + bytes <= this.pieceAt + this.piece.length;
    if (!inPiece) {
      const { bytesRead, buffer } = await this.file.read(Buffer.alloc(65_536), 0, 65_536, this.at);
      this.piece = buffer.subarray(0, bytesRead);
      this.pieceAt = this.at;
      if (bytesRead < bytes) return undefined;
    }
    const start = this.at - this.pieceAt;
    this.at += bytes;
    return this.piece.subarray(start, start + bytes);
  }
}
