import { createWriteStream } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { crc32, createDeflate, deflateSync } from 'node:zlib';

/** RGB or RGBA, 8 or 16 bits. */
type Shape = { width: number; height: number; channels: 3 | 4; deep: boolean };

const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const bandBytes = 1_000_000;

/**
 * Writes pixels as a PNG without compression: it is read again at once and then deleted.
 * @param rows each may be the same array as the row before https://www.w3.org/TR/png-3/
 */
export async function writePng(
  to: string,
  shape: Shape,
  profile: Uint8Array | undefined,
  rows: Iterable<Uint8ClampedArray | Uint16Array>,
): Promise<void> {
  async function* chunks(data: AsyncIterable<Buffer>) {
    yield signature;
    yield chunk('IHDR', headerOf(shape));
    if (profile) yield profileChunk(profile);
    for await (const piece of data) yield chunk('IDAT', piece);
    yield chunk('IEND', Buffer.alloc(0));
  }
  const stored = createDeflate({ level: 0, chunkSize: bandBytes });
  await pipeline(bandsOf(shape, rows), stored, chunks, createWriteStream(to, { flags: 'wx', mode: 0o600 }));
}

/** Adds a colour profile to a small PNG that has none. */
export async function addProfile(path: string, profile: Uint8Array): Promise<void> {
  const file = await readFile(path);
  // After the signature and the IHDR chunk of 25 bytes.
  await writeFile(path, Buffer.concat([file.subarray(0, 33), profileChunk(profile), file.subarray(33)]));
}

const profileChunk = (profile: Uint8Array) =>
  chunk('iCCP', Buffer.concat([Buffer.from('icc\0\0', 'latin1'), deflateSync(profile)]));

function headerOf({ width, height, channels, deep }: Shape): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = deep ? 16 : 8;
  header[9] = channels === 4 ? 6 : 2;
  return header;
}

/** Chunks of several rows, a zero byte (no filter) before each row. */
function* bandsOf(
  { width, channels, deep }: Shape,
  rows: Iterable<Uint8ClampedArray | Uint16Array>,
): Generator<Buffer> {
  const length = 1 + width * channels * (deep ? 2 : 1);
  const most = Math.max(1, Math.floor(bandBytes / length));
  let band = Buffer.alloc(most * length);
  let at = 0;
  for (const row of rows) {
    const bytes = Buffer.from(row.buffer, row.byteOffset, row.byteLength);
    // To big-endian, in place; the row is not used again.
    band.set(deep ? bytes.swap16() : bytes, at + 1);
    at += length;
    if (at < band.length) continue;
    yield band;
    band = Buffer.alloc(most * length);
    at = 0;
  }
  if (at > 0) yield band.subarray(0, at);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}
