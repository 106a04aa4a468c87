import type { Cursor } from '../../cursor.ts';

const maxBoxes = 10_000;

/** Walks the boxes of the top level: length, type, data. ISO/IEC 14496-12, 4.2. */
export async function walkBoxes(cursor: Cursor): Promise<{ cut: boolean }> {
  for (let boxes = 0; cursor.at < cursor.size && boxes < maxBoxes; boxes++) {
    const start = cursor.at;
    const head = await cursor.take(8);
    if (!head) return { cut: true };
    const short = head.readUInt32BE(0);
    // Length 0 means all that follows; 1 means that a length of 64 bits follows.
    if (short === 0) return { cut: false };
    const long = short === 1 ? await cursor.take(8) : undefined;
    const length = long ? Number(long.readBigUInt64BE()) : short;
    if (length < 8) return { cut: false };
    cursor.at = start + length;
  }
  return { cut: cursor.at > cursor.size };
}
