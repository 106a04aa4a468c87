import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createFfmpeg, type Ffmpeg } from '../../worker/media/ffmpeg/ffmpeg.ts';
import type { Capabilities } from '../../worker/media/ffmpeg/capabilities.ts';
import { findPrograms, type FfmpegConfig } from '../../worker/media/ffmpeg/find.ts';
import { kept, versionOf } from './kept.ts';

const { PATH = '', FFMPEG_PATH, FFPROBE_PATH } = process.env;

/** Which ffmpeg the tests use: FFMPEG_PATH and FFPROBE_PATH, the machine's own, or that of the npm packages. */
const config: FfmpegConfig = {
  searchPath: PATH,
  bundled: true,
  ...(FFMPEG_PATH ? { ffmpeg: FFMPEG_PATH } : {}),
  ...(FFPROBE_PATH ? { ffprobe: FFPROBE_PATH } : {}),
};
/** The same for a worker. */
export const ffmpegEnv = {
  PATH,
  ...(FFMPEG_PATH ? { FFMPEG_PATH } : {}),
  ...(FFPROBE_PATH ? { FFPROBE_PATH } : {}),
};

/** What it can do was looked up once for all test files, by global-setup.ts: that takes half a second of CPU. */
const seen = process.env['TEST_FFMPEG'];
const detector = seen && { capabilities: async () => JSON.parse(seen) as Capabilities, detectAgain: () => {} };
export const ffmpeg: Ffmpeg = createFfmpeg(config, undefined, detector || undefined);

/** A video of a moving test picture. */
export async function clip({ size = '320x180', seconds = 2 } = {}): Promise<Buffer> {
  const source = `testsrc2=size=${size}:rate=10:duration=${seconds}`;
  return generate('clip.mp4', `-f lavfi -i ${source} -c:v mpeg4 -pix_fmt yuv420p`);
}

/** A tone and no picture. */
export async function tone({ seconds = 1 } = {}): Promise<Buffer> {
  return generate('tone.mp3', `-f lavfi -i sine=duration=${seconds}`);
}

/** What ffmpeg makes of these words. Kept, unless the words name other files, which the next run makes anew. */
export async function generate(name: string, words: string): Promise<Buffer> {
  const { path } = (await findPrograms(config)).ffmpeg;
  const make = () => generateAnew(path, name, words);
  return words.includes(tmpdir()) ? make() : kept(['clip', await versionOf(path), name, words], make);
}

async function generateAnew(ffmpegPath: string, name: string, words: string): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), 'rowmill-clip-'));
  try {
    await promisify(execFile)(ffmpegPath, ['-v', 'error', '-nostdin', ...words.split(' '), join(dir, name)]);
    return await readFile(join(dir, name));
  } finally {
    await rm(dir, { recursive: true });
  }
}
