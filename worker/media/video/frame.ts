import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError } from '../../base/errors.ts';
import type { Ffmpeg } from '../ffmpeg/ffmpeg.ts';
import type { VideoStream } from '../ffmpeg/probe.ts';
import { checkBudget, frameMemory } from '../ffmpeg/memory.ts';
import { firstFrame, fit, frameFilters, type Size } from '../ffmpeg/filters.ts';
import type { MemoryGate } from '../memory.ts';
import { sharp } from '../image/sharp.ts';
import { noneOf } from '../ffmpeg/source.ts';

export type FrameOptions = {
  ffmpeg: Ffmpeg;
  video: VideoStream;
  /** The length of the whole video in seconds. */
  duration: number | undefined;
  /** Seconds from its beginning. If the video is shorter than twice that, its middle is used. */
  at: number;
  box: Size;
  dir: string;
  signal: AbortSignal;
  memory: MemoryGate;
};

/** Below this, a frame is about one colour: the standard deviation of each channel, of 255. */
const blank = 4;

/**
 * Takes one frame of a video as a PNG file in `dir`, upright and in sRGB. If that frame is blank, as between scenes,
 * another one is taken.
 * @throws PermanentError `media_corrupt` if no frame can be decoded, `no_video_stream` if there is none,
 *   `video_too_large`; what Ffmpeg throws
 */
export async function takeFrame(path: string, options: FrameOptions): Promise<{ path: string } & Size> {
  const { video, box, memory, signal, ffmpeg } = options;
  const { toneMapping } = await ffmpeg.capabilities();
  const bytes = frameMemory(video, box, toneMapping);
  checkBudget(video, bytes, memory.bytes);
  return memory.run(bytes, signal, () => find(path, options));
}

async function find(path: string, options: FrameOptions): Promise<{ path: string } & Size> {
  const { duration, at, video, box, dir } = options;
  const first = duration === undefined ? at : Math.min(at, duration / 2);
  const others = duration === undefined ? [0] : [0.1, 0.25, 0.5, 0.75, 0].map((share) => duration * share);
  const size = fit(video.shown, box);
  let found: string | undefined;
  for (const [index, seconds] of [first, ...others].entries()) {
    const to = join(dir, `frame-${index}.png`);
    if (!(await decode(path, to, seconds, size, options))) continue;
    if (!(await isBlank(to))) return { path: to, ...size };
    found ??= to;
  }
  if (!found) throw await causeOf(path, options);
  return { path: found, ...size };
}

/** Why no frame can be decoded. */
async function causeOf(path: string, { ffmpeg, video, dir, signal }: FrameOptions): Promise<PermanentError> {
  const { count } = await ffmpeg.packets(path, { index: video.index, dir, signal });
  return count === 0
    ? noneOf('video')
    : new PermanentError('media_corrupt', 'The file is damaged: no frame of its video can be decoded');
}

/** @returns whether there was a frame; beyond the end, ffmpeg succeeds and writes nothing */
async function decode(path: string, to: string, seconds: number, size: Size, options: FrameOptions): Promise<boolean> {
  const { ffmpeg, video, dir, signal } = options;
  const filters = frameFilters(video, size, await ffmpeg.capabilities());
  await ffmpeg.run(
    {
      // Before the input: ffmpeg seeks by the index, decodes from the key frame before, and stops exactly at the
      // moment.
      inputs: [{ path, options: ['-threads', '1', '-ss', seconds.toFixed(3)] }],
      outputs: [{ path: to, options: ['-map', `0:${video.index}`, ...firstFrame(filters)] }],
    },
    { dir, signal },
  );
  return stat(to).then(
    ({ size: bytes }) => bytes > 0,
    () => false,
  );
}

async function isBlank(path: string): Promise<boolean> {
  const { channels } = await sharp(path).stats();
  return channels.every(({ stdev }) => stdev < blank);
}
