import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Size } from '../ffmpeg/filters.ts';
import { encode, type OutputFormat } from './encode.ts';
import type { Pixels } from './decode.ts';
import type { Source } from './open.ts';
import { shrink, withPixels, type Means } from './pixels.ts';
import { sharp } from './sharp.ts';

export type Thumbnail = Size & { path: string };

/**
 * One thumbnail of a picture for each box, in the order of the boxes, as files in `dir`: as large as fits, never larger than the picture;
 * upright, sRGB, metadata (GPS!) gone, alpha kept where the format has any and white where not. The file is decoded once, and each
 * made from the pixels of the next larger one.
 * @throws what withPixels does
 */
export async function makeThumbnails(
  path: string,
  boxes: readonly Size[],
  format: OutputFormat,
  { dir, ...means }: Means & { dir: string },
): Promise<{ source: Source; thumbnails: Thumbnail[] }> {
  const target = { box: around(boxes), formats: [format] };
  const { source, made } = await withPixels(path, target, means, async (decoded) => {
    const thumbnails: Thumbnail[] = [];
    let pixels = decoded;
    for (const index of fromTheLargest(boxes, decoded.info)) {
      means.signal.throwIfAborted();
      pixels = await shrink(pixels, boxes[index]!);
      thumbnails[index] = await write(pixels, format, join(dir, `thumbnail-${index}`));
    }
    return thumbnails;
  });
  return { source, thumbnails: made };
}

/** The smallest box that holds all of these. */
export function around(boxes: readonly Size[]): Size {
  return {
    width: Math.max(...boxes.map(({ width }) => width)),
    height: Math.max(...boxes.map(({ height }) => height)),
  };
}

/** The places of the boxes, by how large the picture is in them. */
function fromTheLargest(boxes: readonly Size[], picture: Size): number[] {
  const scale = (index: number) => Math.min(boxes[index]!.width / picture.width, boxes[index]!.height / picture.height);
  return [...boxes.keys()].toSorted((a, b) => scale(b) - scale(a));
}

async function write(pixels: Pixels, format: OutputFormat, path: string): Promise<Thumbnail> {
  const { data, width, height } = await encode(format === 'jpeg' ? await onWhite(pixels) : pixels, format);
  await writeFile(path, data);
  return { path, width, height };
}

/** JPEG has no alpha, and would be black where there is nothing. */
async function onWhite({ data, info }: Pixels): Promise<Pixels> {
  const picture = sharp(data, { raw: info });
  return picture.flatten({ background: '#ffffff' }).raw().toBuffer({ resolveWithObject: true });
}
