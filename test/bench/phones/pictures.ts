import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ffmpeg } from '../../support/clips.ts';
import { codedItem, gridOf, hevcItem } from '../../support/heif.ts';
import { picture, type PictureOptions } from '../../support/pictures.ts';

export type Original = { name: string; path: string };

type Size = [width: number, height: number];
export const sizes: Record<string, Size> = { 12: [4032, 3024], 24: [5712, 4284], 48: [8064, 6048] };

const photo =
  (options: PictureOptions) =>
  ([width, height]: Size) =>
    picture({ width, height, photo: true, ...options });
/** Grains that are about a pixel when publish.file has shrunk them. */
const grains =
  (options: PictureOptions) =>
  ([width, height]: Size) =>
    picture({ width, height, grain: Math.round((options.orientation ? height : width) / 1600), ...options });
/** How names of what is as hard to compress as can be end. */
const noise = ', noise';
/** One kind of header, and the two pictures that it may stand for. */
const both = (name: string, options: PictureOptions) => ({
  [name]: photo(options),
  [name + noise]: grains(options),
});

const heic = (pixelFormat: string) => async (size: Size) =>
  gridOf('heic', await hevcItem(512, 512, pixelFormat), size, [512, 512]);
const avif = { format: 'avif', subsampling: '4:2:0' } as const;
const avifTiles = (options: PictureOptions) => async (size: Size) =>
  gridOf(
    'avif',
    codedItem(await picture({ width: 512, height: 512, photo: true, ...avif, ...options })),
    size,
    [512, 512],
  );

const pictures: Record<string, (size: Size) => Promise<Buffer>> = {
  ...both('JPEG', {}),
  ...both('JPEG, on its side', { orientation: 6 }),
  'JPEG, progressive': photo({ progressive: true }),
  'JPEG, progressive, 4:4:4': photo({ progressive: true, subsampling: '4:4:4' }),
  'JPEG, CMYK': photo({ profile: 'cmyk' }),
  'HEIC, 8 bits': heic('yuv420p'),
  'HEIC, 10 bits': heic('yuv420p10le'),
  'AVIF, 8 bits': photo(avif),
  'AVIF, 10 bits': photo({ ...avif, deep: true }),
  'AVIF in tiles, 8 bits': avifTiles({}),
  'AVIF in tiles, 10 bits': avifTiles({ deep: true }),
  ...both('WebP', { format: 'webp' }),
  ...both('WebP, see-through', { format: 'webp', alpha: true }),
  'WebP, lossless': photo({ format: 'webp', lossless: true }),
  ...both('PNG', { format: 'png' }),
  ...both('PNG, see-through', { format: 'png', alpha: true }),
  ...both('PNG, on its side', { format: 'png', orientation: 6 }),
  ...both('PNG, interlaced, see-through', { format: 'png', progressive: true, alpha: true }),
  'PNG, 16 bits': photo({ format: 'png', deep: true }),
  ...both('TIFF', { format: 'tiff' }),
  'TIFF in tiles': photo({ format: 'tiff', tiled: 256 }),
  ...both('TIFF, on its side', { format: 'tiff', orientation: 6 }),
  'TIFF, 16 bits': photo({ format: 'tiff', deep: true }),
};

/** As files in `dir`: those of these sizes with `only` in their names. */
export async function makeOriginals(dir: string, megapixels: string[], only: string): Promise<Original[]> {
  await mkdir(dir, { recursive: true });
  const originals: Original[] = [];
  for (const size of megapixels)
    for (const [what, make] of Object.entries(pictures)) {
      const name = `${size} MP ${what}`;
      if (!name.includes(only)) continue;
      const path = join(dir, name);
      const file = await make(sizes[size]!).catch((error: Error) => error);
      if (file instanceof Error) {
        console.log(`skipped: ${name} cannot be made here (${file.message.split('\n')[0]})`);
        continue;
      }
      await writeFile(path, file);
      originals.push({ name, path });
    }
  return originals;
}

/**
 * Whether one estimate has to do for both: the header does not tell noise from a photograph, and no use is made of what
 * it tells of tiles.
 */
export const areAlike = (one: string, other: string): boolean => classOf(one) === classOf(other);
const classOf = (name: string) => name.replace(noise, '').replace('TIFF in tiles', 'TIFF');

/** What the README says needs more than the budget; and what needs dav1d to fit, where ffmpeg has none. */
const tooLarge = [
  '48 MP JPEG, progressive, 4:4:4',
  '48 MP WebP, lossless',
  '48 MP AVIF, 10 bits',
  '48 MP AVIF in tiles, 10 bits',
  ...((await ffmpeg.capabilities()).dav1d ? [] : ['24 MP AVIF, 8 bits', '24 MP AVIF, 10 bits', '48 MP AVIF, 8 bits']),
];

export const isExpected = (name: string, code: string | null): boolean =>
  code === 'image_too_large' && tooLarge.includes(name);
