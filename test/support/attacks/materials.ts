import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ffmpegs } from '../ffmpegs.ts';

const run = promisify(execFile);

/** In every text that must not get out. */
export const canary = 'CANARY-7f3a9c';

/** The colour of every picture that must not get out. */
export const canaryColour = { r: 255, g: 0, b: 255 };

/** What a file of an attack holds, by the attack's name. */
export type Files = Record<string, Buffer | string>;

/** Runs the first ffmpeg that is here, unguarded. */
export const make = (args: string[]) => run(ffmpegs[0]!.programs.ffmpeg.path, ['-v', 'error', '-y', ...args]);

export type Materials = Record<
  | 'mp4'
  | 'avi'
  | 'mjpeg'
  | 'wav'
  | 'mp3'
  | 'webm'
  | 'flac'
  | 'png'
  | 'mxf'
  | 'nut'
  | 'y4m'
  | 'gif'
  | 'ivf'
  | 'stowaways',
  Buffer
>;

/** Small true files to make false ones of. */
export async function materials(dir: string): Promise<Materials> {
  const picture = ['-f', 'lavfi', '-i', 'testsrc=s=64x64:r=10:d=1'];
  const sound = ['-f', 'lavfi', '-i', 'sine=d=1'];
  const x264 = ['-c:v', 'libx264', '-preset', 'ultrafast'];
  const subtitles = join(dir, 'subtitles.srt');
  await writeFile(subtitles, `1\n00:00:00,000 --> 00:00:01,000\n${canary}\n`);
  const stowaway = ['-attach', subtitles, '-metadata:s:t', 'mimetype=text/plain', '-metadata', `comment=${canary}`];
  const ways: Record<keyof Materials, string[]> = {
    mp4: [...picture, ...sound, ...x264, '-f', 'mp4'],
    avi: [...picture, '-c:v', 'mpeg4', '-f', 'avi'],
    mjpeg: [...picture, '-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p', '-f', 'avi'],
    wav: [...sound, '-f', 'wav'],
    mp3: [...sound, '-f', 'mp3'],
    webm: [...picture, '-c:v', 'libvpx', '-f', 'webm'],
    flac: [...sound, '-f', 'flac'],
    png: [...picture, '-frames:v', '1', '-c:v', 'png', '-f', 'image2pipe'],
    mxf: [...picture, '-c:v', 'mpeg2video', '-r', '25', '-f', 'mxf'],
    nut: [...picture, ...x264, '-f', 'nut'],
    y4m: [...picture, '-frames:v', '2', '-pix_fmt', 'yuv420p', '-f', 'yuv4mpegpipe'],
    gif: [...picture, '-f', 'gif'],
    ivf: [...picture, '-c:v', 'libvpx', '-f', 'ivf'],
    stowaways: [
      ...picture,
      '-i',
      subtitles,
      '-map',
      '0',
      '-map',
      '1',
      ...x264,
      '-c:s',
      'srt',
      ...stowaway,
      '-f',
      'matroska',
    ],
  };
  const made = await Promise.all(
    Object.entries(ways).map(async ([name, way]) => {
      const path = join(dir, `material.${name}`);
      await make([...way, path]);
      return [name, await readFile(path)] as const;
    }),
  );
  return Object.fromEntries(made) as Materials;
}
