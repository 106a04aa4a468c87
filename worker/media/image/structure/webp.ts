import type { Cursor } from '../../cursor.ts';
import { maxFrames, tooMany } from './limits.ts';

export type WebpStructure = {
  cut: boolean;
  /** The first frame of which bytes are missing. */
  lostFrame?: number;
  /** Of the first frame; undefined where there is none. */
  lossless?: boolean;
};

/** RIFF: type, length, data, padded to even. https://developers.google.com/speed/webp/docs/riff_container */
export async function walkWebp(cursor: Cursor): Promise<WebpStructure> {
  const riff = await cursor.take(12);
  // Writers often forget the byte that pads the last chunk.
  const cut = !riff || riff.readUInt32LE(4) + 8 > cursor.size + 1;
  const found: WebpStructure = { cut };
  for (let frames = 0; ;) {
    const head = await cursor.take(8);
    if (!head) return found.lossless === undefined ? { cut, lostFrame: 0 } : found;
    const type = head.toString('latin1', 0, 4);
    const length = head.readUInt32LE(4);
    if (type === 'VP8 ' || type === 'VP8L') found.lossless ??= type === 'VP8L';
    if (type === 'ANMF' && ++frames > maxFrames) throw tooMany('WebP', 'frames', maxFrames);
    if (pictureChunks.includes(type) && cursor.at + length > cursor.size) found.lostFrame ??= Math.max(0, frames - 1);
    // The first frame is looked into: its chunks begin after 16 bytes of its own.
    const inside = type === 'ANMF' && frames === 1;
    cursor.skip(inside ? 16 : length + (length % 2));
  }
}

const pictureChunks = ['VP8 ', 'VP8L', 'ALPH', 'ANMF'];
