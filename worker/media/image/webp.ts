import { open } from 'node:fs/promises';

const mostAdded = 100_000_000;

/**
 * Pads a WebP with zeros to the length in its header. libvips refuses a shorter file, even if only the padding byte of
 * its last chunk is missing, but decodes zeros in place of missing data.
 */
export async function lengthenWebp(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0);
    const { size } = await file.stat();
    const said = bytesRead === 8 ? buffer.readUInt32LE(4) + 8 : 0;
    if (said > size && said < size + mostAdded) await file.truncate(said);
  } finally {
    await file.close();
  }
}
