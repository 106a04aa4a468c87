import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import sharp from 'sharp';

// The anchor: what somebody would write with sharp alone for the same two variants, reading files and writing files.

const [atOnce, ...paths] = process.argv.slice(2);
const out = await mkdtemp(join(tmpdir(), 'rowmill-bare-'));
sharp.cache(false);
sharp.concurrency(1);

async function publish(path: string, index: number): Promise<void> {
  const { data, info } = await sharp(path, { autoOrient: true, failOn: 'error' })
    .resize({ width: 1600, withoutEnlargement: true })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  const raw = { width: info.width, height: info.height, channels: info.channels };
  await sharp(data, { raw })
    .webp({ quality: 80, effort: 2 })
    .toFile(join(out, `${index}-display.webp`));
  await sharp(data, { raw })
    .resize({ width: 400 })
    .webp({ quality: 80, effort: 2 })
    .toFile(join(out, `${index}-thumb.webp`));
}

console.log('ready');
await once(process.stdin, 'data');
let next = 0;
await Promise.all(
  Array.from({ length: Number(atOnce) }, async () => {
    while (next < paths.length) {
      const index = next++;
      await publish(paths[index]!, index);
    }
  }),
);
console.log('done');
await rm(out, { recursive: true });
process.stdin.resume();
