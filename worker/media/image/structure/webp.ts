import type { Cursor } from '../../cursor.ts';
import { maxFrames, tooMany } from './limits.ts';

export type WebpStructure = {
  cut: boolean;
  /** Index of the first frame with missing bytes. */
  lostFrame?: number;
  /** Of the first frame; undefined where there is none. */
  lossless?: boolean;
};

/**
 * Walks the chunks of RIFF: type, length, data, padded to even.
 * https://developers.google.com/speed/webp/docs/riff_container
 */
export async function walkWebp(cursor: Cursor): Promise<WebpStructure> {
  const riff = await cursor.take(12);
  // Many writers leave out the byte that pads the last chunk.
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
    // Goes into the first frame, whose chunks begin after its own 16 bytes.
    const inside = type === 'ANMF' && frames === 1;
    cursor.skip(inside ? 16 : length + (length % 2));
  }
}

const pictureChunks = ['VP8 ', 'VP8L', 'ALPH', 'ANMF'];
