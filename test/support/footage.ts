import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Ffmpeg } from '../../worker/media/ffmpeg.ts';
import { ffmpeg } from './clips.ts';

/** Short clips with sound and flaws, made by the ffmpeg that the tests use. */
export type Footage = {
  ffmpeg: Ffmpeg;
  /** Before ffmpeg 5, as that of the npm package, which turns no mirrored video. */
  old: boolean;
  dir: string;
  /** A new private folder in `dir`. */
  folder(): Promise<string>;
  /** Runs ffmpeg with these words, and gives the path of what it wrote. */
  make(name: string, words: string): Promise<string>;
  /** The bytes of a file, changed, as a new file of the same extension. */
  change(path: string, change: (bytes: Buffer) => Buffer): Promise<string>;
  /** What ffmpeg writes to its stdout with these words. */
  read(path: string, words: string): Promise<Buffer>;
  close(): Promise<void>;
};

const run = promisify(execFile);

export async function openFootage(): Promise<Footage> {
  const { programs, version } = await ffmpeg.capabilities();
  const dir = await mkdtemp(join(tmpdir(), 'clips-'));
  const call = (args: string[]) =>
    run(programs.ffmpeg.path, ['-v', 'error', '-nostdin', '-y', ...args], { encoding: 'buffer', maxBuffer: 1e8 });
  let made = 0;
  return {
    ffmpeg,
    old: !/^([5-9]|\d\d)\./.test(version),
    dir,
    folder: () => mkdtemp(join(dir, 'work-')),
    async make(name, words) {
      const path = join(dir, `${made++}-${name}`);
      await call([...words.split(' '), path]);
      return path;
    },
    async change(path, change) {
      const to = join(dir, `${made++}-changed-${path.split('/').at(-1)}`);
      await writeFile(to, change(await readFile(path)));
      return to;
    },
    read: async (path, words) => (await call(['-i', path, ...words.split(' '), 'pipe:1'])).stdout,
    close: () => rm(dir, { recursive: true, force: true }),
  };
}

/** Words for what has a picture: it moves, and is hard enough to encode that its bytes can be damaged. */
export const picture = (size: string, seconds: number, rate = 30) =>
  `-f lavfi -i testsrc2=s=${size}:r=${rate}:d=${seconds},noise=alls=6:allf=t`;
export const tone = (seconds: number, hertz = 440) => `-f lavfi -i sine=f=${hertz}:d=${seconds}`;

export const h264 = '-c:v libx264 -preset ultrafast -pix_fmt yuv420p -profile:v main';
export const aac = '-c:a aac -b:a 64k';

/** The numbers a, b, c, d of the display matrix of the first track, which is how an MP4 says that it is to be turned. ISO/IEC 14496-12, 8.3.2 */
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
