import sharp from 'sharp';
import { workThrough } from './bare.ts';

// The anchor: what somebody would write with sharp alone for the same two variants, reading files and writing files.

await workThrough(async (path, to) => {
  const { data, info } = await sharp(path, { autoOrient: true, failOn: 'error' })
    .resize({ width: 1600, withoutEnlargement: true })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, channels: info.channels };
  await sharp(data, { raw }).webp({ quality: 80, effort: 2 }).toFile(`${to}-display.webp`);
  await sharp(data, { raw }).resize({ width: 400 }).webp({ quality: 80, effort: 2 }).toFile(`${to}-thumb.webp`);
});
