import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { processVideo, type VideoOptions } from '../../../worker/media/video/video.ts';
import { aac, h264, openFootage, picture, tone, type Footage } from '../../support/footage.ts';
import { quickSettings as settings } from '../../support/quick-settings.ts';

// Files whole and honest, of which one stream ends before the others do. Their formats say how long the file is, and of
// its streams nothing.

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

/** Makes a file by these words, and of that what `work` does. */
async function of<T>(
  name: string,
  words: string,
  work: (path: string, options: VideoOptions) => Promise<T>,
): Promise<T> {
  const dir = await clips.folder();
  const path = join(dir, name);
  await rename(await clips.make(name, words), path);
  const memory = createMemoryGate({ bytes: 280e6, slots: 2 });
  return work(path, {
    ffmpeg: clips.ffmpeg,
    memory,
    settings,
    watermark: undefined,
    dir,
    signal: new AbortController().signal,
  });
}

suite('sound that ends before the picture does', () => {
  const files = {
    'a.webm': '-c:v libvpx -deadline realtime -c:a libopus',
    'a.flv': '-c:v flv -c:a libmp3lame -ar 44100',
    'a.wmv': '-c:v wmv2 -c:a wmav2',
  };
  for (const [name, coding] of Object.entries(files))
    test(name, async () => {
      const { metadata } = await of(name, `${picture('64x64', 4)} ${tone(1)} ${coding}`, processAudio);
      assert.ok(Math.abs(metadata.duration - 1) < 0.1, `${metadata.duration} s`);
    });
});

suite('a Matroska file goes on after picture and sound', () => {
  const long = `${picture('64x64', 1)} ${tone(1)} ${tone(4, 880)}`;
  const files = {
    'by a second language': `${long} -map 0 -map 1 -map 2 -disposition:a:0 default`,
    'by another picture': `${picture('64x64', 1)} ${tone(1)} ${picture('32x32', 4)} -map 0 -map 1 -map 2`,
  };
  for (const [name, words] of Object.entries(files))
    test(name, async () => {
      const { metadata } = await of('a.mkv', `${words} ${h264} ${aac}`, processVideo);
      assert.ok(Math.abs(metadata.duration - 1) < 0.1, `${metadata.duration} s`);
    });
});
