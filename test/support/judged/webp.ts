import sharp from 'sharp';
import { scenePixels } from './scene.ts';

export type WebpFrame = {
  /** Even numbers, as the format wants them. */
  left: number;
  top: number;
  width: number;
  height: number;
  /** Drawn over what is there, or in its place. */
  blend?: boolean;
  /** To the background when it is over. */
  dispose?: boolean;
};

/**
 * An animation whose frames are parts of the canvas, each the scene with alpha.
 * https://developers.google.com/speed/webp/docs/riff_container
 */
export async function animatedWebp(canvas: { width: number; height: number }, frames: WebpFrame[]): Promise<Buffer> {
  const header = Buffer.alloc(10);
  header[0] = 0x12;
  header.writeUIntLE(canvas.width - 1, 4, 3);
  header.writeUIntLE(canvas.height - 1, 7, 3);
  const parts = [chunk('VP8X', header), chunk('ANIM', Buffer.alloc(6)), ...(await Promise.all(frames.map(frameChunk)))];
  const body = Buffer.concat([Buffer.from('WEBP', 'latin1'), ...parts]);
  return Buffer.concat([Buffer.from('RIFF', 'latin1'), long(body.length), body]);
}

async function frameChunk({ left, top, width, height, blend = true, dispose = false }: WebpFrame): Promise<Buffer> {
  const raw = { width, height, channels: 4 } as const;
  const still = await sharp(scenePixels(4, raw), { raw }).webp({ lossless: true }).toBuffer();
  const head = Buffer.alloc(16);
  for (const [n, value] of [left / 2, top / 2, width - 1, height - 1, 100].entries()) head.writeUIntLE(value, n * 3, 3);
  head[15] = (blend ? 0 : 2) | (dispose ? 1 : 0);
  const pixels = still.indexOf('VP8L');
  return chunk(
    'ANMF',
    Buffer.concat([head, still.subarray(pixels, pixels + 8 + even(still.readUInt32LE(pixels + 4)))]),
  );
}

const even = (length: number) => length + (length % 2);

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const chunk = (type: string, data: Buffer) =>
  Buffer.concat([Buffer.from(type, 'latin1'), long(data.length), data, Buffer.alloc(data.length % 2)]);
