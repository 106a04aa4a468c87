import { createWriteStream } from 'node:fs';
import { open, realpath, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Ffmpeg } from '../../ffmpeg/ffmpeg.ts';
import { firstFrame } from '../../ffmpeg/filters.ts';
import { addProfile } from '../png.ts';
import type { Heif, Size } from './header.ts';

/** Whether ffmpeg can decode it: one coded picture, in colour, without alpha. */
export const isPlain = ({ codec, derived, colour, alpha, samples }: Heif): boolean =>
  codec === 'av01' && !derived && !colour.tiles && !alpha && samples > 1;

/**
 * Writes an AVIF that isPlain as a PNG of `size`, with 16 bits a sample where the AVIF has more than 8: cropped, but
 * not yet rotated. For large pictures: ffmpeg's decoder, dav1d, takes a fifth of the memory of sharp's, libaom.
 * @throws what Ffmpeg throws
 */
export async function avifToPng(
  path: string,
  heif: Heif,
  to: string,
  size: Size,
  { ffmpeg, signal }: { ffmpeg: Ffmpeg; signal: AbortSignal },
): Promise<void> {
  const stream = `${path}.obu`;
  try {
    await extract(path, heif, stream);
    const scale = `scale=${size.width}:${size.height}:${scaling(heif)}`;
    const filters = `${cropOf(heif)}${scale},format=${heif.bits > 8 ? 'rgb48be' : 'rgb24'}`;
    await ffmpeg.run(
      {
        inputs: [{ path: stream, formats: 'obu', options: ['-f', 'obu', '-threads', '1', '-c:v', 'libdav1d'] }],
        outputs: [{ path: to, options: [...firstFrame(filters), '-compression_level', '1'] }],
      },
      { dir: await realpath(dirname(path)), signal },
    );
    if (heif.profile) await addProfile(to, heif.profile);
  } finally {
    await rm(stream, { force: true });
  }
}

/** The picture's AV1 data alone, after the temporal delimiter that an AV1 stream must begin with. */
async function extract(path: string, { extents }: Heif, to: string): Promise<void> {
  const file = await open(path);
  try {
    await pipeline(pieces(file, extents), createWriteStream(to, { flags: 'wx', mode: 0o600 }));
  } finally {
    await file.close();
  }
}

async function* pieces(file: FileHandle, extents: Heif['extents']): AsyncGenerator<Buffer> {
  yield Buffer.from([0x12, 0]);
  for (const { at, bytes } of extents)
    yield* file.createReadStream({ start: at, end: at + bytes - 1, autoClose: false });
}

function cropOf({ colour, crop: { left, top, width, height } }: Heif): string {
  return width === colour.width && height === colour.height ? '' : `crop=${width}:${height}:${left}:${top}:exact=1,`;
}

const matrices: Record<number, string> = { 1: 'bt709', 4: 'fcc', 5: 'bt601', 6: 'bt601', 7: 'smpte240m', 9: 'bt2020' };

/** Options of the filter scale. The coding in the boxes wins over the one in the AV1 stream. */
function scaling({ coding }: Heif): string {
  const quality = 'flags=lanczos+accurate_rnd+full_chroma_int';
  const matrix = coding && matrices[coding.matrix];
  return matrix ? `${quality}:in_color_matrix=${matrix}:in_range=${coding.full ? 'full' : 'limited'}` : quality;
}
