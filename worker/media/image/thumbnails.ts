import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Size } from '../ffmpeg/filters.ts';
import { encode } from './encode.ts';
import type { Pixels } from './decode.ts';
import type { Source } from './open.ts';
import { shrink, withPixels, type Means } from './pixels.ts';
import { sharp } from './sharp.ts';
import type { OutputFormat } from './target.ts';

export type Thumbnail = Size & { path: string };

/**
 * Makes one thumbnail of a picture for each box, in the order of the boxes, as files in `dir`. Each is as large as fits
 * and never larger than the picture; upright, in sRGB, without metadata (GPS position!). Transparency is kept where the
 * format has it, and becomes white where not. The file is decoded once, and each thumbnail is made from the next larger
 * one.
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

/** Indexes of the boxes, the one with the largest thumbnail first. */
function fromTheLargest(boxes: readonly Size[], picture: Size): number[] {
  const scale = (index: number) => Math.min(boxes[index]!.width / picture.width, boxes[index]!.height / picture.height);
  return [...boxes.keys()].toSorted((a, b) => scale(b) - scale(a));
}

async function write(pixels: Pixels, format: OutputFormat, path: string): Promise<Thumbnail> {
  const { data, width, height } = await encode(format === 'jpeg' ? await onWhite(pixels) : pixels, format);
  await writeFile(path, data);
  return { path, width, height };
}

/** JPEG has no alpha; transparent parts would become black. */
async function onWhite({ data, info }: Pixels): Promise<Pixels> {
  const picture = sharp(data, { raw: info });
  return picture.flatten({ background: '#ffffff' }).raw().toBuffer({ resolveWithObject: true });
}
