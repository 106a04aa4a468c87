import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import exifreader from 'exifreader';

const run = promisify(execFile);

/** Of the originals of tests, as text of videos, sounds, and XMP. */
const written = /ISO6709|\xa9xyz|loci|[+-]\d{2}\.\d{3,}[+-]\d{3}\.\d{3,}|2024-05-06|52,31\.2000N|GPSLatitude/g;

/**
 * What in files tells where or when they were taken: by exiftool where there is one, of pictures by exifreader, and by
 * their bytes.
 */
export async function tracesOfPlace(...paths: string[]): Promise<string[]> {
  const found = paths.map(async (path) => {
    const bytes = await readFile(path);
    const words = [...bytes.toString('latin1').matchAll(written)].map(([word]) => word);
    return [...words, ...tagsOfPicture(bytes, path)];
  });
  return [...(await Promise.all(found)).flat(), ...(await tagsOfPlace(paths))];
}

function tagsOfPicture(bytes: Buffer, path: string): string[] {
  if (!/\.(jpe?g|png|webp|avif|heic)$/.test(path)) return [];
  const { exif, gps, iptc, xmp } = exifreader.load(bytes, { expanded: true });
  return [exif, gps, iptc, xmp].flatMap((group) => Object.keys(group ?? {}));
}

async function tagsOfPlace(paths: string[]): Promise<string[]> {
  const { stdout } = await run('exiftool', ['-s', '-ee', '-G1', ...paths]).catch(
    (error: NodeJS.ErrnoException & { stdout: string }) => {
      // There is none; or it does not know the format of one of them, and tells of the others.
      if (error.code === 'ENOENT' || error.stdout.includes('Unknown file type')) return error;
      throw error;
    },
  );
  return stdout
    .split('\n')
    .filter((line) => /gps|location|2024:05:06/i.test(line.replace(/^(\[System\]|=====).*|Directory.*/, '')));
}
