import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../../../worker/base/config/config.ts';
import type { Ffmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { processVideo, type ProcessedVideo } from '../../../worker/media/video/video.ts';
import { aac, h264, picture, tone, type Footage } from '../../support/footage.ts';
import { interleave } from '../measure.ts';
import { atMost, information, type Result } from '../result.ts';
import { besideHand, byHand } from './by-hand.ts';

const { video: usual, mediaTruncated: truncated } = loadConfig({});
const settings = { ...usual, truncated };
const plenty = createMemoryGate({ bytes: 4e9, slots: 1 });
/** That of a worker in 512 MB. */
const smallMb = 280;

/**
 * The work of media.video against the very same ffmpeg command by hand, which looks neither at what it is given nor at
 * what came out, and takes no poster; and that of a video that needs no encode, against a bare copy.
 * @param source of 1080p, with more bits a second than are copied
 */
export async function video(footage: Footage, source: string, seconds: number, runs: number): Promise<Result[]> {
  const fine = await footage.make(
    'fine.mp4',
    `${picture('1920x1080', seconds)} ${tone(seconds)} ${h264} -b:v 4M ${aac} -movflags +faststart`,
  );
  const beside = (path: string, mode: ProcessedVideo['mode']) =>
    besideHand(footage, path, async (original, means) => {
      const made = await processVideo(original, { ...means, memory: plenty, settings, watermark: undefined });
      if (made.mode !== mode) throw new Error(`the video was to take the way of ${mode}, not of ${made.mode}`);
    });
  const encode = await beside(source, 'encode');
  const copy = await beside(fine, 'copy');
  await interleave(runs, {
    'media.video, encode': encode.ours,
    'media.video, copy': copy.ours,
    'ffmpeg, encode': encode.anchor,
    'ffmpeg, copy': copy.anchor,
  });
  return [
    atMost(1.05, 'video, wall, against the same command', encode.figures()),
    information('video that plays everywhere, wall, against a bare copy', copy.figures()),
    atMost(1, 'video, peak RSS of ffmpeg planned for 512 MB, against its budget', {
      ours: await peakMb(footage, source),
      anchor: smallMb,
      unit: 'MB',
    }),
  ];
}

/**
 * The most memory of all ffmpegs of the work, as it is planned for a small machine. Nobody listens to what they write
 * to a pipe, so it is mute.
 */
async function peakMb(footage: Footage, source: string): Promise<number> {
  const dir = await footage.folder();
  const original = join(dir, 'original');
  await copyFile(await footage.run('mute.mp4', `-i ${source} -c copy -an`), original);
  let most = 0;
  const run: Ffmpeg['run'] = async (task) => {
    most = Math.max(most, (await byHand(footage.ffmpeg, task)).peakMb);
    return { stderr: '' };
  };
  const memory = createMemoryGate({ bytes: smallMb * 1e6, slots: 1 });
  const { signal } = new AbortController();
  await processVideo(original, {
    ffmpeg: { ...footage.ffmpeg, run },
    memory,
    settings,
    watermark: undefined,
    dir,
    signal,
  });
  return most;
}
