import { PermanentError } from '../../../base/errors.ts';
import type { Cursor } from '../../cursor.ts';
import { maxMetadataBytes, tooMuchMetadata } from './limits.ts';

export type JpegStructure = {
  cut: boolean;
  /** All channels together, as subsampled: 3 for 4:4:4, 2 for 4:2:2, 1.5 for 4:2:0. */
  samplesPerPixel?: number;
};

/**
 * Walks the segments by marker and length, up to the first scan. Whether the scans are complete, the decoder finds out.
 * ISO/IEC 10918-1, annex B.
 * @throws PermanentError `image_too_large`, `unsupported_image_format`
 */
export async function walkJpeg(cursor: Cursor): Promise<JpegStructure> {
  let metadata = 0;
  let samplesPerPixel: number | undefined;
  cursor.skip(2);
  for (;;) {
    const head = await cursor.take(4);
    if (!head) return { cut: true };
    const marker = head[1]!;
    if (head[0] !== 0xff || marker === 0xda) return samplesPerPixel ? { cut: false, samplesPerPixel } : { cut: false };
    if (marker === 0xff) {
      // Fill bytes: any number of them may stand before a marker.
      cursor.skip(-3);
      continue;
    }
    const length = Math.max(0, head.readUInt16BE(2) - 2);
    if (marker >= 0xe0) metadata += length;
    if (metadata > maxMetadataBytes) throw tooMuchMetadata('JPEG');
    const end = cursor.at + length;
    if (isFrame(marker)) samplesPerPixel ??= samplesOf(marker, await cursor.take(length));
    cursor.at = end;
  }
}

/** SOF0 to SOF15; the range also has DHT, JPG and DAC. */
const isFrame = (marker: number) => marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

const unsupportedKinds: Record<number, string> = {
  0xc3: 'lossless',
  0xc5: 'hierarchical',
  0xc6: 'hierarchical',
  0xc7: 'hierarchical',
  0xcb: 'lossless',
  0xcd: 'hierarchical',
  0xce: 'hierarchical',
  0xcf: 'hierarchical',
};

function samplesOf(marker: number, frame: Buffer | undefined): number | undefined {
  if (unsupportedKinds[marker]) throw unsupported(`it is ${unsupportedKinds[marker]}`);
  if (!frame || frame.length < 6) return undefined;
  if (frame[0] !== 8) throw unsupported(`it has ${frame[0]} bits a sample`);
  const factors: [across: number, down: number][] = [];
  for (let at = 6; at + 3 <= frame.length && factors.length < frame[5]!; at += 3)
    factors.push([frame[at + 1]! >> 4, frame[at + 1]! & 15]);
  const [across, down] = [0, 1].map((n) => Math.max(1, ...factors.map((factor) => factor[n]!))) as [number, number];
  return factors.reduce((sum, [h, v]) => sum + (h * v) / (across * down), 0);
}

const unsupported = (why: string) =>
  new PermanentError('unsupported_image_format', `This kind of JPEG is not supported: ${why}`);
