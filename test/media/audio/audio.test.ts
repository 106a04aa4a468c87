import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import sharp from 'sharp';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { aac, damage, h264, openFootage, picture, tone, type Footage } from '../../support/footage.ts';
import { tracesOfPlace } from '../../support/place.ts';

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

async function processed(path: string, settings: { audioBitrate?: number; maxSeconds?: number } = {}) {
  const dir = await clips.folder();
  const original = join(dir, 'original');
  await writeFile(original, await readFile(path));
  const { ffmpeg } = clips;
  const { signal } = new AbortController();
  const made = await processAudio(original, {
    ffmpeg,
    memory: createMemoryGate({ bytes: 280e6, slots: 2 }),
    settings: { audioBitrate: 128_000, maxSeconds: 100, truncated: 'refuse', ...settings },
    dir,
    signal,
  });
  return { made, mp3: (await ffmpeg.probe(made.path, { dir, signal })).audio[0]! };
}

/** The bars as they ought to be: every sample decoded at once, a few lines. */
async function reference(path: string, channels: number): Promise<number[]> {
  const pcm = await clips.read(path, '-map 0:a:0 -f s16le -c:a pcm_s16le');
  const frames = pcm.length / 2 / channels;
  const peaks = Array.from({ length: 100 }, (_, index) => {
    let peak = 0;
    for (
      let at = Math.floor((index * frames) / 100) * channels;
      at < Math.ceil(((index + 1) * frames) / 100) * channels;
      at++
    )
      peak = Math.max(peak, Math.abs(pcm.readInt16LE(at * 2)));
    return peak;
  });
  const top = Math.max(...peaks);
  return peaks.map((peak) => (top === 0 ? 0 : Math.round((100 * peak) / top)));
}

function drawnAs(waveform: number[], expected: number[]): void {
  assert.equal(waveform.length, 100);
  assert.ok(waveform.every((bar) => Number.isInteger(bar) && bar >= 0 && bar <= 100));
  for (const [index, bar] of waveform.entries())
    assert.ok(Math.abs(bar - expected[index]!) <= 3, `bar ${index} is ${bar}, not ${expected[index]}`);
}

/** Speech, more or less: it swells and falls twice a second. */
const voice = (seconds: number) => `-f lavfi -i aevalsrc=sin(600*t)*(0.1+0.8*pow(sin(5*t)\\,2)):d=${seconds}:s=48000`;

suite('a sound becomes an MP3 with its waveform', () => {
  const cases: [string, string, string, { codec: string; channels: number; sample_rate: number; format: string }][] = [
    [
      'a voice message',
      'a.ogg',
      `${voice(4)} -c:a libopus -b:a 24k`,
      { codec: 'opus', channels: 1, sample_rate: 48_000, format: 'opus' },
    ],
    ['AAC', 'a.m4a', `${voice(3)} -ac 2 ${aac}`, { codec: 'aac', channels: 2, sample_rate: 48_000, format: 'm4a' }],
    [
      'six channels',
      'a.flac',
      `${voice(3)} -af pan=5.1|c0=0*c0|c1=0*c0|c2=0*c0|c3=0*c0|c4=c0|c5=0*c0`,
      { codec: 'flac', channels: 6, sample_rate: 48_000, format: 'flac' },
    ],
    [
      'two channels in opposite phase',
      'a.wav',
      `${voice(3)} -af pan=stereo|c0=c0|c1=-1*c0`,
      { codec: 'pcm_s16le', channels: 2, sample_rate: 48_000, format: 'wav' },
    ],
    [
      'a telephone',
      'a.wav',
      `${voice(3)} -ar 8000`,
      { codec: 'pcm_s16le', channels: 1, sample_rate: 8_000, format: 'wav' },
    ],
    [
      '96 kHz',
      'a.wav',
      `${voice(2)} -ar 96000 -c:a pcm_s24le`,
      { codec: 'pcm_s24le', channels: 1, sample_rate: 96_000, format: 'wav' },
    ],
    [
      'the sound of a video',
      'a.mp4',
      `${picture('320x180', 2)} ${voice(2)} ${h264} ${aac}`,
      { codec: 'aac', channels: 1, sample_rate: 48_000, format: 'mp4' },
    ],
  ];
  for (const [name, file, words, expected] of cases)
    test(name, async () => {
      const path = await clips.make(file, words);
      const { made, mp3 } = await processed(path);
      const { codec, channels, sample_rate, format, duration, bytes } = made.metadata;
      assert.deepEqual({ codec, channels, sample_rate, format }, expected);
      const seconds = Number(/:d=([\d.]+)/.exec(words)![1]);
      assert.ok(Math.abs(duration - seconds) < 0.1, `${duration} s`);
      assert.equal(bytes, (await readFile(path)).length);

      assert.deepEqual([mp3.codec, mp3.channels], ['mp3', Math.min(channels, 2)]);
      assert.ok(Math.abs(mp3.bitrate! - 128_000) < 16_000 || sample_rate === 8_000, `${mp3.bitrate} b/s`);
      assert.ok(Math.abs(mp3.duration! - seconds) < 0.3, `${mp3.duration} s`);
      drawnAs(made.waveform, await reference(path, channels));
      assert.equal(Math.max(...made.waveform), 100);
    });
});

test('silence is drawn as nothing, and a millisecond is drawn', async () => {
  const silent = await processed(await clips.make('a.wav', '-f lavfi -i anullsrc -t 1'));
  assert.deepEqual(silent.made.waveform, Array(100).fill(0));
  const path = await clips.make('a.wav', '-f lavfi -i sine=d=0.001:f=4000');
  const { made } = await processed(path);
  assert.equal(made.metadata.duration, 0.001);
  drawnAs(made.waveform, await reference(path, 1));
});

test('the bit rate is AUDIO_BITRATE', async () => {
  const { mp3 } = await processed(await clips.make('a.wav', voice(2)), { audioBitrate: 64_000 });
  assert.ok(Math.abs(mp3.bitrate! - 64_000) < 8_000, `${mp3.bitrate} b/s`);
});

test('the sound that its maker put first is taken', async () => {
  const path = await clips.make(
    'a.mka',
    `${tone(1)} ${tone(1)} -map 0 -map 1 -c:a flac -ac:a:1 2 -disposition:a:0 0 -disposition:a:1 default`,
  );
  assert.equal((await processed(path)).made.metadata.channels, 2);
});

test('a cover is no video, and nothing of the tags is left', async () => {
  const cover = join(clips.dir, 'cover.png');
  await sharp({ create: { width: 20, height: 20, channels: 3, background: 'red' } }).toFile(cover);
  const path = await clips.make(
    'a.mp3',
    `${tone(1)} -i ${cover} -map 0 -map 1 -c:v copy -disposition:v attached_pic ` +
      '-metadata location=+48.1374+011.5755/ -metadata date=2024-05-06',
  );
  assert.notDeepEqual(await tracesOfPlace(path), []);
  const { made } = await processed(path);
  assert.deepEqual(await tracesOfPlace(made.path), []);
  const bytes = await readFile(made.path);
  assert.ok(!bytes.includes('APIC') && !bytes.includes('TXXX'));
});

suite('refused', () => {
  const refuses =
    (code: string, path: () => Promise<string>, says = /./, maxSeconds = 100) =>
    async () => {
      await assert.rejects(processed(await path(), { maxSeconds }), (error: Error & { code: string }) => {
        assert.deepEqual([error.name, error.code], ['PermanentError', code], error.stack);
        assert.match(error.message, says);
        return true;
      });
    };
  const file = async (name: string, bytes: Buffer) => {
    const path = join(await clips.folder(), name);
    await writeFile(path, bytes);
    return path;
  };
  const changed = async (name: string, words: string, change: (bytes: Buffer) => Buffer) =>
    clips.change(await clips.make(name, words), change);
  const red = { create: { width: 9, height: 9, channels: 3, background: 'red' } } as const;

  test(
    'noise',
    refuses('not_media', () => file('a.mp3', damage(Buffer.alloc(200_000), 100_000)), /no known format/),
  );
  test(
    'sound behind noise, which would be taken for speech',
    refuses(
      'not_media',
      () => changed('a.mp3', tone(2), (bytes) => Buffer.concat([damage(Buffer.alloc(200_000, 1), 100_000), bytes])),
      /no known format/,
    ),
  );
  test(
    'text',
    refuses('not_media', () => file('a.mp3', Buffer.from('#EXTM3U\nsecret.mp3\n'))),
  );
  test(
    'a picture, by its name',
    refuses('not_media', async () => file('a.ogg', await sharp(red).jpeg().toBuffer()), /image\/jpeg/),
  );
  test(
    'a video without sound',
    refuses('no_audio_stream', () => clips.make('a.mp4', `${picture('64x64', 0.2)} ${h264}`)),
  );
  test(
    'what is too long',
    refuses('audio_too_long', () => clips.make('a.ogg', `${tone(3)} -c:a libopus`), /VIDEO_MAX_SECONDS/, 2),
  );
  test(
    'what is too long and does not say so',
    refuses('audio_too_long', () => clips.make('a.aac', `${tone(3)} ${aac}`), /VIDEO_MAX_SECONDS/, 2),
  );
  test(
    'what is cut off',
    refuses('media_truncated', () =>
      changed('a.m4a', `${tone(4)} ${aac} -movflags +faststart`, (bytes) => bytes.subarray(0, bytes.length * 0.6)),
    ),
  );
  test(
    'what is damaged',
    refuses('media_corrupt', () => changed('a.m4a', `${voice(6)} ${aac}`, (bytes) => damage(bytes, 8_000))),
  );
});
