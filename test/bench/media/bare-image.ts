import { writeFile } from 'node:fs/promises';
import { extname } from 'node:path';
import sharp, { type ResizeOptions, type Sharp } from 'sharp';
import { rgbaToThumbHash } from 'thumbhash';
import { workThrough } from '../bare.ts';

// The anchor: what somebody would write with sharp alone for the outputs of media.image, reading files and writing
// files. It decodes each file once; or with DECODE=again anew for each output, as most do it.

type Open = () => Sharp;

const within = (side: number): ResizeOptions => ({
  width: side,
  height: side,
  fit: 'inside',
  withoutEnlargement: true,
});
const encoders: Record<string, (picture: Sharp) => Sharp> = {
  '.jpg': (picture) => picture.jpeg({ quality: 82 }),
  '.png': (picture) => picture.png({ compressionLevel: 6 }),
  '.webp': (picture) => picture.webp({ quality: 80, effort: 2 }),
};

async function decoded(open: Open): Promise<Open> {
  const { data, info } = await open().resize(within(2048)).raw().toBuffer({ resolveWithObject: true });
  const { width, height, channels } = info;
  return () => sharp(data, { raw: { width, height, channels } });
}

await workThrough(async (path, to) => {
  const open = () => sharp(path, { autoOrient: true, failOn: 'error' }).toColourspace('srgb');
  const from = process.env['DECODE'] === 'again' ? open : await decoded(open);
  const extension = extname(path);
  await encoders[extension]!(from().resize(within(2048))).toFile(`${to}${extension}`);
  await from().resize({ width: 200, height: 200 }).webp({ quality: 80, effort: 2 }).toFile(`${to}-thumb.webp`);
  const hash = await from().resize(within(100)).ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  await writeFile(`${to}-hash`, rgbaToThumbHash(hash.info.width, hash.info.height, hash.data));
});
