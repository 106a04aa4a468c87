import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { createMemoryGate } from '../../worker/media/memory.ts';
import { processVideo, type ProcessedVideo } from '../../worker/media/video/video.ts';
import { aac, h264, picture, tone, type Footage } from './footage.ts';

export type Settings = Partial<Parameters<typeof processVideo>[1]['settings']>;

/** What processVideo makes, and what ffprobe says of it. */
export async function processed(clips: Footage, path: string, settings: Settings = {}, shares: number[] = []) {
  const dir = await clips.folder();
  // As a worker does: the file is in the folder, and has no name of its own.
  const original = join(dir, 'original');
  await writeFile(original, await readFile(path));
  const { ffmpeg } = clips;
  const made = await processVideo(original, {
    ffmpeg,
    memory: createMemoryGate({ bytes: 600e6, slots: 2 }),
    settings: {
      preset: 'ultrafast',
      videoBitrate: undefined,
      audioBitrate: 64_000,
      maxSeconds: 100,
      truncated: 'refuse',
      ...settings,
    },
    watermark: undefined,
    dir,
    signal: new AbortController().signal,
    onProgress: (share) => shares.push(share),
  });
  const probe = await ffmpeg.probe(made.path, { dir, signal: new AbortController().signal });
  return { made, probe, video: probe.video[0]!, audio: probe.audio[0] };
}

/** A clip that every player takes as it is. */
export const plain = (clips: Footage, name = 'plain.mp4', seconds = 2) =>
  clips.make(name, `${picture('320x180', seconds)} ${tone(seconds)} -shortest ${h264} ${aac} -movflags +faststart`);

export const near = (found: number | undefined, expected: number, by: number) =>
  assert.ok(Math.abs(found! - expected) <= by, `${found} is not within ${by} of ${expected}`);

/** The colours of a poster's corners, row by row. */
export async function cornersOf({ data, width, height }: ProcessedVideo['poster']): Promise<string> {
  const { data: pixels, info } = await sharp(data).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => {
    const from = (Math.round(y * height) * info.width + Math.round(x * width)) * info.channels;
    const [r, g, b] = [...pixels.subarray(from, from + 3)].map((value) => value > 90);
    return r && g && b ? 'white' : r ? 'red' : g ? 'green' : 'blue';
  };
  return [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)].join(' ');
}
