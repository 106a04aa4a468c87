import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PermanentError } from '../../../worker/base/errors.ts';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createFfmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { isOld } from '../../../worker/media/ffmpeg/age.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { transcode } from '../../../worker/media/video/transcode.ts';
import { processVideo } from '../../../worker/media/video/video.ts';
import { generate } from '../../support/clips.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { amr, pcm, soundFile, withSound } from '../../support/mp4.ts';
import { quickSettings as settings } from '../../support/quick-settings.ts';

// Sound that an older ffmpeg loses, or makes noise of, without an error: whole, or refused by a code; never a part of
// it.

const signal = new AbortController().signal;
const memory = createMemoryGate({ bytes: 1e9, slots: 2 });
let dir: string;
before(async () => void (dir = await mkdtemp(join(tmpdir(), 'old-ffmpeg-'))));
after(() => rm(dir, { recursive: true }));

for (const { name, config } of ffmpegs)
  describe(name, () => {
    const ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });
    const kinds = {
      audio: async (path: string, work: string) => {
        const { metadata } = await processAudio(path, { ffmpeg, memory, settings, dir: work, signal });
        return metadata.duration;
      },
      video: async (path: string, work: string) => {
        const options = { ffmpeg, memory, settings, watermark: undefined, dir: work, signal };
        return (await processVideo(path, options)).duration;
      },
      transcode: async (path: string, work: string) => {
        const wishes = { formats: ['mp4'], thumbnails: undefined, watermark: undefined, listed: false } as const;
        return (await transcode(path, { ffmpeg, memory, settings, dir: work, signal, onProgress: () => {}, ...wishes }))
          .duration;
      },
    };
    async function made(kind: keyof typeof kinds, bytes: Buffer): Promise<number> {
      const work = await mkdtemp(join(dir, 'work-'));
      const path = join(work, 'original');
      await writeFile(path, bytes);
      return kinds[kind](path, work);
    }
    /** Whole, or refused by an ffmpeg that is too old for it. */
    async function judged(kind: keyof typeof kinds, bytes: Buffer, seconds: number): Promise<void> {
      const capabilities = await ffmpeg.capabilities();
      const { version } = capabilities;
      try {
        const found = await made(kind, bytes);
        assert.ok(Math.abs(found - seconds) < 0.1, `${found} s`);
      } catch (error) {
        if (!isOld(capabilities) || !(error instanceof PermanentError)) throw error;
        // One that is very old does not know the codec at all.
        if (error.code === 'unsupported_codec') return assert.match(error.message, /ipcm/);
        assert.equal(error.code, 'ffmpeg_too_old', error.stack);
        assert.ok(error.message.includes(version) && error.message.includes('ffmpeg 7'), error.message);
      }
    }

    test('AMR with fifty frames in a sample', () => judged('audio', soundFile(amr(4)), 4));
    test('the same of a video', async () => {
      const picture = await generate('a.mp4', '-f lavfi -i testsrc2=s=160x90:r=10:d=4 -c:v mpeg4');
      const bytes = withSound(picture, amr(4));
      await judged('video', bytes, 4);
      await judged('transcode', bytes, 4);
    });
    test('MPEG-TS, at which the ffprobe of npm crashes', async () => {
      const bytes = await generate('a.ts', '-f lavfi -i sine=d=4 -c:a mp2');
      await judged('audio', bytes, 4);
    });
    test('PCM of 24 bits', () => judged('audio', soundFile(pcm(1)), 1));
  });
