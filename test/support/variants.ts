import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { makeVariants, type Variant, type VariantSize } from '../../worker/media/image/variants.ts';
import type { Truncated } from '../../worker/media/image/whole.ts';
import { createMemoryGate, type MemoryGate } from '../../worker/media/memory.ts';
import { blue, green, red, white } from './pictures.ts';

type Options = {
  memory?: MemoryGate;
  signal?: AbortSignal;
  truncated?: Truncated;
  sizes?: readonly [VariantSize, ...VariantSize[]];
};

const roomy = createMemoryGate({ bytes: 500e6, slots: 2 });
const displayAndThumb = [
  { name: 'display', width: 1600 },
  { name: 'thumb', width: 400 },
] as const;

/** What `makeVariants` makes of the bytes, unless told otherwise at 1600 and 400 across and with memory to spare. */
export async function variantsOf(file: Buffer, options: Options = {}): ReturnType<typeof makeVariants> {
  const {
    memory = roomy,
    signal = new AbortController().signal,
    truncated = 'refuse',
    sizes = displayAndThumb,
  } = options;
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-image-'));
  try {
    await writeFile(join(dir, 'original'), file);
    return await makeVariants(join(dir, 'original'), sizes, { signal, memory, truncated });
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** `display 1600x1067, thumb 400x267` */
export const shapes = (variants: Variant[]): string =>
  variants.map(({ name, width, height }) => `${name} ${width}x${height}`).join(', ');

/** The colours in the middle of the quarters, with alpha: above left, above right, below left, below right. */
export async function quartersOf(file: Buffer): Promise<number[][]> {
  const { data, info } = await sharp(file).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  const places = [
    [1, 1],
    [3, 1],
    [1, 3],
    [3, 3],
  ] as const;
  return places.map(([x, y]) => {
    const at = (Math.floor((info.height * y) / 4) * info.width + Math.floor((info.width * x) / 4)) * 4;
    return [...data.subarray(at, at + 4)];
  });
}

export function assertColours(actual: number[][], expected: (readonly number[])[], tolerance = 12): void {
  for (const [i, colour] of expected.entries()) {
    const near = colour.every((value, channel) => Math.abs(value - actual[i]![channel]!) <= tolerance);
    assert.ok(near, `quarter ${i} is ${actual[i]!.join()} and should be ${colour.join()}`);
  }
}

/**
 * What is seen, per EXIF value, of red green / blue white as stored.
 * https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, 4.6.4
 */
export const seenUpright = {
  1: [red, green, blue, white],
  2: [green, red, white, blue],
  3: [white, blue, green, red],
  4: [blue, white, red, green],
  5: [red, blue, green, white],
  6: [blue, red, white, green],
  7: [white, green, blue, red],
  8: [green, white, red, blue],
};
