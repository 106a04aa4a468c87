import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { crc32, createDeflate, deflateSync } from 'node:zlib';

/** Rows of 8-bit RGB or RGBA, `stride` bytes from one to the next. */
export type Rows = { width: number; height: number; channels: 3 | 4; stride: number; data: Uint8Array };

const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const bandBytes = 1_000_000;

/**
 * Writes pixels as a PNG that is stored and not compressed: one that is read again at once and then thrown away.
 * https://www.w3.org/TR/png-3/
 */
export async function writePng(to: string, pixels: Rows, profile: Uint8Array | undefined): Promise<void> {
  async function* chunks(data: AsyncIterable<Buffer>) {
    yield signature;
    yield chunk('IHDR', headerOf(pixels));
    if (profile) yield chunk('iCCP', Buffer.concat([Buffer.from('icc\0\0', 'latin1'), deflateSync(profile)]));
    for await (const piece of data) yield chunk('IDAT', piece);
    yield chunk('IEND', Buffer.alloc(0));
  }
  const stored = createDeflate({ level: 0, chunkSize: bandBytes });
  await pipeline(bandsOf(pixels), stored, chunks, createWriteStream(to, { flags: 'wx', mode: 0o600 }));
}

function headerOf({ width, height, channels }: Rows): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8;
  header[9] = channels === 4 ? 6 : 2;
  return header;
}

/** Some rows at a time, before each of them a zero: no filter. */
function* bandsOf({ width, height, channels, stride, data }: Rows): Generator<Buffer> {
  const length = width * channels;
  const most = Math.max(1, Math.floor(bandBytes / (length + 1)));
  for (let top = 0; top < height; top += most) {
    const band = Buffer.alloc(Math.min(most, height - top) * (length + 1));
    for (let at = 0, y = top; at < band.length; at += length + 1, y++)
      band.set(data.subarray(y * stride, y * stride + length), at + 1);
    yield band;
  }
}

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}
