import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Ffmpeg } from '../../worker/media/ffmpeg/ffmpeg.ts';
import { ffmpeg } from './clips.ts';
import { kept, versionOf } from './kept.ts';

/** Short clips with sound and flaws, made by the ffmpeg that the tests use. */
export type Footage = {
  ffmpeg: Ffmpeg;
  /** Before ffmpeg 5, as that of the npm package, which turns no mirrored video. */
  old: boolean;
  dir: string;
  /** A new private folder in `dir`. */
  folder(): Promise<string>;
  /**
   * What ffmpeg writes with these words, made now or kept of another time. The extension of the name tells the format.
   */
  make(name: string, words: string): Promise<string>;
  /** The same, made now. */
  run(name: string, words: string): Promise<string>;
  /** The bytes of a file, changed, as a new file of the same extension. */
  change(path: string, change: (bytes: Buffer) => Buffer): Promise<string>;
  /** What ffmpeg writes to its stdout with these words. */
  read(path: string, words: string): Promise<Buffer>;
  close(): Promise<void>;
};

const runProgram = promisify(execFile);

export async function openFootage(): Promise<Footage> {
  const { programs, version } = await ffmpeg.capabilities();
  const dir = await mkdtemp(join(tmpdir(), 'clips-'));
  const call = (args: string[]) =>
    runProgram(programs.ffmpeg.path, ['-v', 'error', '-nostdin', '-y', ...args], {
      encoding: 'buffer',
      maxBuffer: 1e8,
    });
  const program = await versionOf(programs.ffmpeg.path);
  let made = 0;
  const run = async (name: string, words: string) => {
    const path = join(dir, `${made++}-${name}`);
    await call([...words.split(' '), path]);
    return path;
  };
  /** The words, files that they name by their content; undefined where they name what is not there yet. */
  const recipeOf = async (words: string): Promise<string | undefined> => {
    const each = words.split(' ').map(async (word) => (word.startsWith(tmpdir()) ? contentOf(word) : word));
    const recipe = (await Promise.all(each)).join(' ');
    return recipe.includes(tmpdir()) ? undefined : recipe;
  };
  return {
    ffmpeg,
    old: !/^([5-9]|\d\d)\./.test(version),
    dir,
    folder: () => mkdtemp(join(dir, 'work-')),
    async make(name, words) {
      const recipe = await recipeOf(words);
      if (!recipe) return run(name, words);
      const path = join(dir, `${made++}-${name}`);
      const extension = extname(name);
      const bytes = await kept([program, extension, recipe], async () =>
        readFile(await run(`kept${extension}`, words)),
      );
      await writeFile(path, bytes);
      return path;
    },
    run,
    async change(path, change) {
      const to = join(dir, `${made++}-changed-${path.split('/').at(-1)}`);
      await writeFile(to, change(await readFile(path)));
      return to;
    },
    read: async (path, words) => (await call(['-i', path, ...words.split(' '), 'pipe:1'])).stdout,
    close: () => rm(dir, { recursive: true, force: true }),
  };
}

const contentOf = async (path: string) =>
  readFile(path).then(
    (bytes) => createHash('sha256').update(bytes).digest('hex'),
    () => path,
  );

/** Words for what has a picture: it moves, and is hard enough to encode that its bytes can be damaged. */
export const picture = (size: string, seconds: number, rate = 30) =>
  `-f lavfi -i testsrc2=s=${size}:r=${rate}:d=${seconds},noise=alls=6:allf=t`;
export const tone = (seconds: number, hertz = 440) => `-f lavfi -i sine=f=${hertz}:d=${seconds}`;

export const h264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p -profile:v main';
export const aac = '-c:a aac -b:a 64k';

/**
 * The numbers a, b, c, d of the display matrix of the first track, which is how an MP4 says that it is to be turned.
 * ISO/IEC 14496-12, 8.3.2
 */
export function turn(bytes: Buffer, [a, b, c, d]: [number, number, number, number]): Buffer {
  const matrix = bytes.indexOf('tkhd') + 44;
  for (const [place, value] of [a, b, 0, c, d, 0].entries()) bytes.writeInt32BE(value * 65_536, matrix + place * 4);
  return bytes;
}

/** Overwrites `length` bytes from the middle on. */
export function damage(bytes: Buffer, length: number): Buffer {
  const from = Math.floor(bytes.length / 2);
  for (let at = from; at < from + length; at++) bytes[at] = (at * 7919 + 13) % 251;
  return bytes;
}
