import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, suite, test } from 'node:test';
import {
  copyMemory,
  encodeMemory,
  frameMemory,
  isLong,
  planEncode,
  profileOptions,
} from '../../../worker/media/ffmpeg/memory.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { h264, openFootage, picture, type Footage } from '../../support/footage.ts';
import { stream } from '../../support/stream.ts';

suite('planEncode', () => {
  const fullHd = stream();
  const fourK = stream({ width: 3840, height: 2160 });
  const iphone = stream({ width: 3840, height: 2160, codec: 'hevc', pixelFormat: 'yuv420p10le', hdr: true });
  const plans = (video = fullHd, megabytes = 280, seconds = 3) => {
    const memory = createMemoryGate({ bytes: megabytes * 1e6, slots: 2 });
    return planEncode({ video, seconds }, 1920, { preset: 'veryfast', toneMapping: true, memory });
  };
  const plan = (video = fullHd, megabytes = 280) => plans(video, megabytes).plans[0];

  test('is fast where there is memory enough', () => {
    assert.equal(plan(stream({ width: 1280, height: 720 })).profile, 'fast');
    assert.equal(plan(fullHd, 2_000).profile, 'fast');
  });

  test('is lean in the default budget: 1080p, and 4K down to 1080p', () => {
    for (const video of [fullHd, fourK]) {
      const { profile, size } = plan(video);
      assert.deepEqual([profile, size.width, size.height], ['lean', 1920, 1080]);
    }
  });

  test('makes the picture smaller before it gives up', () => {
    assert.deepEqual(plan(iphone, 400).size, { width: 1280, height: 720 });
  });

  test('refuses what never fits, and says what it takes', () => {
    assert.throws(() => plan(iphone, 280), {
      name: 'PermanentError',
      code: 'video_too_large',
      message: /3840 x 2160 .* hevc .* needs about \d+ MB .* MEDIA_MEMORY_MB is 280/,
    });
  });

  test('takes what is free for a short clip: it would do with less, at the same size', () => {
    const { sort, plans: ways } = plans(fullHd, 700);
    assert.equal(sort, 'short');
    assert.deepEqual(
      ways.map(({ profile }) => profile),
      ['fast', 'lean'],
    );
    assert.deepEqual(ways[0].size, ways[1]!.size);
    assert.ok(ways[0].bytes > ways[1]!.bytes);
  });

  test('leaves room beside a long encode for pictures and short clips', () => {
    const { sort, plans: ways } = plans(fourK, 700, 600);
    assert.equal(sort, 'long');
    assert.equal(ways.length, 1);
    assert.ok(ways[0].bytes + plans(fullHd, 700).plans.at(-1)!.bytes <= 700e6);
  });

  test('does in pieces what would leave no room', () => {
    assert.equal(plans(fourK, 280, 600).sort, 'piece');
    assert.ok(isLong({ video: fourK, seconds: undefined }, []));
  });

  test('needs more for more sizes, slower presets, 10 bits, and to turn a picture', () => {
    const bytes = (video = fullHd, preset: 'veryfast' | 'medium' = 'veryfast', sizes = 1) =>
      encodeMemory(
        video,
        Array.from({ length: sizes }, () => ({ width: 1280, height: 720 })),
        {
          profile: 'fast',
          preset,
          toneMapping: true,
        },
      );
    assert.ok(bytes(fullHd, 'veryfast', 2) > bytes());
    assert.ok(bytes(fullHd, 'medium') > bytes());
    assert.ok(bytes(stream({ pixelFormat: 'yuv420p10le' })) > bytes());
    assert.ok(bytes(stream({ rotation: 90 })) > bytes());
    assert.ok(bytes(stream({ hdr: true })) > bytes());
  });
});

suite('ffmpeg takes no more than estimated', { skip: process.platform !== 'linux' && 'it reads /proc' }, () => {
  let clips: Footage;
  let path: string;
  before(async () => {
    clips = await openFootage();
    path = await clips.make('720.mp4', `${picture('1280x720', 3)} ${h264} -b:v 6M`);
  });
  after(() => clips.close());
  const video = stream({ width: 1280, height: 720 });
  const size = { width: 1280, height: 720 };
  const scale = '-vf scale=1280:720,format=yuv420p';

  for (const profile of ['fast', 'lean'] as const)
    test(`to encode, ${profile}`, async () => {
      const { decoder, encoder } = profileOptions[profile];
      const peak = await peakOf(
        `${decoder.join(' ')} -i ${path} ${scale} -c:v libx264 -preset veryfast ${encoder.join(' ')} -f null`,
      );
      within(peak, encodeMemory(video, [size], { profile, preset: 'veryfast', toneMapping: true }));
    });
  test('to take a frame', async () =>
    within(await peakOf(`-threads 1 -i ${path} -frames:v 1 -f null`), frameMemory(video, size, false)));
  test('to copy', async () =>
    within(await peakOf(`-threads 1 -skip_frame nokey -i ${path} -c copy -f mp4 -y /dev/null -f null`), copyMemory));

  /** The most that it held, in bytes. */
  async function peakOf(words: string): Promise<number> {
    const { programs } = await clips.ffmpeg.capabilities();
    const child = spawn(programs.ffmpeg.path, ['-v', 'error', '-nostdin', ...words.split(' '), '-'], {
      stdio: 'ignore',
    });
    const ended = once(child, 'exit');
    let peak = 0;
    while (child.exitCode === null) {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024);
      await Promise.race([ended, sleep(5)]);
    }
    assert.equal(child.exitCode, 0);
    return peak;
  }

  function within(peak: number, estimate: number): void {
    const said = `${Math.round(peak / 1e6)} MB, of ${Math.round(estimate / 1e6)} estimated`;
    assert.ok(peak > 10e6 && peak <= estimate, said);
    // An estimate that is far too high keeps jobs waiting for nothing. Old ffmpegs take less.
    assert.ok(clips.old || estimate < peak * 2, said);
  }
});
