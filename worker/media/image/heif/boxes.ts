import type { FileHandle } from 'node:fs/promises';

/** A picture of 200 megapixels in tiles has 822 items. */
const mostBoxes = 20_000;
/** More boxes than any still picture has at the top level. */
const mostAtTop = 1000;

/** A box without its header. ISO/IEC 14496-12, 4.2. */
export type Box = { type: string; data: Reader };

/** Reads bytes from front to back. @throws RangeError beyond the end */
export class Reader {
  readonly bytes: Buffer;
  private at = 0;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** An unsigned integer of 1, 2, 3, 4 or 8 bytes; 0 for 0 bytes. */
  uint(bytes: number): number {
    if (bytes === 0) return 0;
    const from = this.at;
    this.at += bytes;
    if (bytes <= 4) return this.bytes.readUIntBE(from, bytes);
    return Number(this.bytes.readBigUInt64BE(from));
  }

  int32(): number {
    return this.uint(4) | 0;
  }

  text(bytes: number): string {
    return this.take(bytes).toString('latin1');
  }

  take(bytes = this.left): Buffer {
    if (bytes > this.left) throw new RangeError('a box is longer than the box around it');
    this.at += bytes;
    return this.bytes.subarray(this.at - bytes, this.at);
  }

  /** Version and flags, which every "full" box begins with. */
  full(): { version: number; flags: number } {
    return { version: this.uint(1), flags: this.uint(3) };
  }

  /** The boxes in the rest. @throws RangeError for more than any real file has */
  *boxes(): Generator<Box> {
    for (let n = 0; this.left >= 8; n++) {
      if (n === mostBoxes) throw new RangeError(`it has more than ${mostBoxes} boxes in one`);
      const { type, bytes } = headOf(this, this.left);
      yield { type, data: new Reader(this.take(bytes)) };
    }
  }
}

/** Type and length of a box. Length 0 means all that is left, and 1 that a length of 64 bits follows. */
function headOf(head: Reader, left: number): { type: string; bytes: number } {
  const size = head.uint(4);
  const type = head.text(4);
  if (size === 0) return { type, bytes: left - 8 };
  const bytes = size === 1 ? head.uint(8) - 16 : size - 8;
  if (bytes < 0) throw new RangeError(`the ${type} box is shorter than its own header`);
  return { type, bytes };
}

/**
 * The first box of each of these types at the top level of a file, and the offset of its type in the file.
 * @throws RangeError for a box of more than `mostBytes`, or one that is cut off
 */
export async function topBoxes(
  file: FileHandle,
  types: readonly string[],
  mostBytes: number,
): Promise<Map<string, { at: number; data: Reader }>> {
  const found = new Map<string, { at: number; data: Reader }>();
  const { size } = await file.stat();
  for (let at = 0, n = 0; at + 8 <= size && n < mostAtTop; n++) {
    const head = new Reader(await piece(file, at, Math.min(16, size - at)));
    const { type, bytes } = headOf(head, size - at);
    const typeAt = at + 4;
    const start = at + head.bytes.length - head.left;
    at = start + bytes;
    if (!types.includes(type) || found.has(type)) continue;
    if (bytes > mostBytes) throw new RangeError(`the ${type} box has ${bytes} bytes`);
    if (at > size) throw new RangeError(`the ${type} box is cut off`);
    found.set(type, { at: typeAt, data: new Reader(await piece(file, start, bytes)) });
  }
  return found;
}

/** @throws RangeError when the file is shorter */
export async function piece(file: FileHandle, at: number, bytes: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(bytes), 0, bytes, at);
  if (bytesRead < bytes) throw new RangeError('the file ends before what its boxes point to');
  return buffer;
}
