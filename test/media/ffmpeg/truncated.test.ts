import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createFfmpeg } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { transcode } from '../../../worker/media/video/transcode.ts';
import type { TruncatedPolicy } from '../../../worker/media/ffmpeg/verdict.ts';
import { processVideo } from '../../../worker/media/video/video.ts';
import { generate } from '../../support/clips.ts';
import { everything, unlessEverything } from '../../support/everything.ts';
import { ffmpegs } from '../../support/ffmpegs.ts';
import { truncated } from '../../support/pictures.ts';

// A file that is cut off, by whatever is made of it and whichever ffmpeg: its own fault, which another attempt does not
// fix.

const signal = new AbortController().signal;
const memory = createMemoryGate({ bytes: 1e9, slots: 2 });
const settings = { videoBitrate: undefined, audioBitrate: 64_000, maxSeconds: 100, preset: 'ultrafast' } as const;

let dir: string;
let whole: Buffer;
const others: Record<string, Buffer> = {};
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'truncated-'));
  const source = '-f lavfi -i testsrc2=s=160x90:r=15:d=4 -f lavfi -i sine=d=4';
  whole = await generate('a.webm', `${source} -c:v libvpx -b:v 500k -deadline realtime -c:a libopus`);
  others['avi'] = await generate('a.avi', `${source} -c:v mpeg4 -c:a libmp3lame`);
  others['wmv'] = await generate('a.wmv', `${source} -c:v wmv2 -c:a wmav2`);
  others['wav'] = await generate('a.wav', '-f lavfi -i sine=d=4');
});
after(() => rm(dir, { recursive: true }));

for (const { name, config } of ffmpegs)
  describe(name, () => {
    const ffmpeg = createFfmpeg({ ...config, sandbox: 'none' });
    const made = async (kind: string, bytes: Buffer, policy: TruncatedPolicy = 'refuse') => {
      const work = await mkdtemp(join(dir, 'work-'));
      const path = join(work, 'original');
      await writeFile(path, bytes);
      const options = {
        ffmpeg,
        memory,
        settings: { ...settings, truncated: policy },
        watermark: undefined,
        dir: work,
        signal,
        onProgress: () => {},
      };
      if (kind === 'video') return processVideo(path, options);
      if (kind === 'audio') return processAudio(path, options);
      return transcode(path, {
        ...options,
        formats: ['hls'],
        thumbnails: undefined,
        listed: false,
      });
    };

    for (const kind of ['video', 'audio', 'transcode']) {
      for (const share of [0.05, 0.5, 0.9])
        test(`${kind} of ${share * 100} % of it`, { skip: share !== 0.9 && unlessEverything }, () =>
          assert.rejects(made(kind, truncated(whole, share)), { name: 'PermanentError', code: 'media_truncated' }),
        );
      test(`${kind} of all of it`, async () => assert.equal((await made(kind, whole)).truncated, false));
    }

    // ffmpeg has no complaint about these: their duration is that of what is left.
    for (const [format, kinds, rarely] of [
      ['avi', ['video'], ['audio', 'transcode']],
      ['wmv', ['transcode'], ['audio', 'video']],
      ['wav', ['audio'], []],
    ] as const)
      test(`most of a ${format}, and all of it`, async () => {
        for (const kind of [...kinds, ...(everything ? rarely : [])]) {
          const most = made(kind, truncated(others[format]!, 0.8));
          await assert.rejects(most, { name: 'PermanentError', code: 'media_truncated' }, kind);
          await made(kind, others[format]!);
        }
      });

    for (const [where, flags] of [
      ['in front', '-movflags +faststart'],
      ['at the end', '-movflags +use_metadata_tags'],
      ['in each fragment', '-movflags +frag_keyframe+empty_moov+default_base_moof -frag_duration 500000'],
    ] as const)
      test(`most of an M4A whose index is ${where}`, async () => {
        const bytes = await generate('a.m4a', `-f lavfi -i sine=d=4 -c:a aac ${flags}`);
        await made('audio', bytes);
        const most = truncated(bytes, 0.6);
        if (where !== 'in each fragment')
          await assert.rejects(made('audio', most), (error: Error & { code: string }) => {
            assert.deepEqual([error.name, error.code], ['PermanentError', 'media_truncated'], error.stack);
            assert.match(error.message, /^The file is cut off: \S/);
            return true;
          });
        else assert.equal((await made('audio', most)).truncated, true);
        if (where === 'at the end') return;
        const part = await made('audio', most, 'deliver');
        assert.equal(part.truncated, true);
        assert.ok(Math.abs(part.metadata.duration - 2.3) < 0.5, `${part.metadata.duration} s`);
      });

    test('what is left of a WebM is delivered where that is asked for', async () => {
      for (const kind of ['video', 'audio', 'transcode'] as const) {
        const { truncated: isCut, metadata } = await made(kind, truncated(whole, 0.5), 'deliver');
        assert.equal(isCut, true);
        assert.ok(metadata.duration > 1 && metadata.duration < 3, `${metadata.duration} s`);
      }
    });

    test('a recording of which nothing says how long it was is delivered up to its cut', async () => {
      const live = await generate('a.webm', '-f lavfi -i sine=d=4 -c:a libopus -live 1');
      const part = await made('audio', truncated(live, 0.6));
      assert.equal(part.truncated, true);
      assert.ok(Math.abs(part.metadata.duration - 2.4) < 0.4, `${part.metadata.duration} s`);
      assert.equal((await made('audio', live)).truncated, false);
    });

    test('a WAV that was written as it came does not know how long it is', async () => {
      for (const size of [0, 0x7fff_ffff, 0xffff_ffff]) {
        const stream = Buffer.from(others['wav']!);
        stream.writeUInt32LE(size, 4);
        stream.writeUInt32LE(size, stream.indexOf('data') + 4);
        await made('audio', stream);
      }
    });
  });
