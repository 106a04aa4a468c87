import assert from 'node:assert/strict';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { processAudio } from '../../../worker/media/audio/audio.ts';
import { createMemoryGate } from '../../../worker/media/memory.ts';
import { slowIf } from '../../support/everything.ts';
import { aac, h264, openFootage, picture, tone, type Footage } from '../../support/footage.ts';
import { near, processed } from '../../support/processed.ts';

// A number in a header that decoding disproves is a hint: the file is whole and is processed. Each is made of a file
// that says the truth.

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

const memory = createMemoryGate({ bytes: 280e6, slots: 2 });

async function sound(from: string, maxSeconds = 100) {
  const dir = await clips.folder();
  const path = join(dir, 'original');
  await copyFile(from, path);
  const settings = { audioBitrate: 64_000, maxSeconds, truncated: 'refuse' } as const;
  const { ffmpeg } = clips;
  return processAudio(path, { ffmpeg, memory, settings, dir, signal: new AbortController().signal });
}
const video = async (path: string, maxSeconds = 100) => (await processed(clips, path, { maxSeconds })).made;

const both = `${picture('160x90', 2)} ${tone(2)} ${h264} ${aac}`;
const fragmented = () => clips.make('a.mp4', `${both} -g 30 -movflags frag_keyframe+empty_moov+default_base_moof`);
const matroska = () => clips.make('a.mkv', both);
/** As browsers record: no sizes, no duration. */
const recording = () =>
  clips.make('a.webm', `${picture('160x90', 2)} ${tone(2)} -c:v libvpx -deadline realtime -c:a libopus -live 1`);

/** Where a box, or an element, of this name begins: each of them. */
function* places(bytes: Buffer, name: string | Buffer) {
  for (let at = bytes.indexOf(name); at >= 0; at = bytes.indexOf(name, at + 4)) yield at;
}
const eachBox = (name: string, offset: number, value: number) => (bytes: Buffer) => {
  for (const at of places(bytes, name)) bytes.writeUInt32BE(value, at + 4 + offset);
  return bytes;
};
/** Of the whole file: an element of eight bytes, in milliseconds. */
const duration = Buffer.of(0x44, 0x89, 0x88);

suite('a video whose header is wrong is as long as what decodes', () => {
  const changed: [string, () => Promise<string>, (bytes: Buffer) => Buffer][] = [
    ['durations of all ones, which mean "unknown"', fragmented, eachBox('mdhd', 16, 0xffff_ffff)],
    ['a duration of a minute', fragmented, eachBox('mdhd', 16, 60 * 44_100)],
    [
      'a first fragment at ten seconds',
      fragmented,
      (bytes) => {
        const timescales = [...places(bytes, 'mdhd')].map((at) => bytes.readUInt32BE(at + 16));
        let track = 0;
        for (const at of places(bytes, 'tfdt')) {
          const wide = bytes[at + 4] === 1 ? 4 : 0;
          const shifted = bytes.readUInt32BE(at + 8 + wide) + 10 * timescales[track++ % timescales.length]!;
          bytes.writeUInt32BE(shifted, at + 8 + wide);
        }
        return bytes;
      },
    ],
    ['no duration in Matroska', matroska, (bytes) => (bytes.set([0xec, 0x89], bytes.indexOf(duration)), bytes)],
    [
      'fifty seconds in Matroska',
      matroska,
      (bytes) => (bytes.writeDoubleBE(50_000, bytes.indexOf(duration) + 3), bytes),
    ],
    ['days in Matroska', matroska, (bytes) => (bytes.writeDoubleBE(1e9, bytes.indexOf(duration) + 3), bytes)],
    ['a recording of a browser', recording, (bytes) => bytes],
    ['a stray byte behind a recording', recording, (bytes) => Buffer.concat([bytes, Buffer.of(0xa3)])],
    ['stray bytes behind an MP4', fragmented, (bytes) => Buffer.concat([bytes, Buffer.of(0, 0, 1)])],
    [
      'an AVI without its index',
      () => clips.make('a.avi', `${picture('160x90', 2)} ${tone(2)} -c:v mpeg4 -c:a libmp3lame`),
      (bytes) => (bytes.write('JUNK', bytes.lastIndexOf('idx1'), 'latin1'), bytes),
    ],
  ];
  for (const [index, [name, make, change]] of changed.entries())
    slowIf(index % 3 > 0)(name, async () => {
      const path = await clips.change(await make(), change);
      near((await video(path)).duration, 2, 0.15);
      near((await sound(path)).metadata.duration, 2, 0.1);
    });

  test('a beginning before zero, which players leave out', async () => {
    const path = await clips.run('a.mp4', `-ss 0.5 -i ${await clips.make('a.mp4', `${both} -g 60`)} -c copy`);
    near((await video(path)).duration, 1.5, 0.15);
  });
});

test('frames in Matroska that are half a second apart stay so', async () => {
  const path = await clips.make('a.mkv', `${picture('64x64', 3, 15)} -vf select=not(mod(n\\,7)) -vsync vfr ${h264}`);
  near((await video(path)).duration, 2.87, 0.5);
});

suite('the frame rate is counted where it looks absurd', () => {
  const rated = async (fps: number) =>
    clips.change(await clips.make('a.mkv', `${picture('64x64', 1, fps)} ${h264}`), (bytes) => {
      // The duration of a frame, in nanoseconds.
      const at = bytes.indexOf(Buffer.of(0x23, 0xe3, 0x83));
      const length = bytes[at + 3]! & 0xf;
      bytes.writeUIntBE(1_000_000, at + 4, length);
      return bytes;
    });
  test('30 frames in a second that says 1000', async () => {
    const { metadata } = await video(await rated(30));
    near(metadata.fps!, 30, 1);
    near(metadata.duration, 1, 0.1);
  });
  test('480 frames in a second are too many', () =>
    assert.rejects(async () => video(await rated(480)), { code: 'frame_rate_too_high' }));
});

suite('a sound whose header is wrong is as long as what decodes', () => {
  const wav = () => clips.make('a.wav', tone(2));
  const mp3 = (words = '-b:a 64k') =>
    clips.make('a.mp3', `${tone(2)} -c:a libmp3lame ${words} -id3v2_version 0 -write_xing 0`);
  const id3 = (length: number, content: Buffer) =>
    Buffer.concat([Buffer.from('ID3\x03\0\0\0\0', 'latin1'), Buffer.of(length >> 7, length & 127), content]);
  /** EBU Tech 3306. */
  const rf64 = (name: string) => (bytes: Buffer) => {
    const ds64 = Buffer.alloc(36);
    ds64.write('ds64', 'latin1');
    ds64.writeUInt32LE(28, 4);
    const data = bytes.indexOf('data');
    ds64.writeBigUInt64LE(BigInt(bytes.length + 36 - 8), 8);
    ds64.writeBigUInt64LE(BigInt(bytes.readUInt32LE(data + 4)), 16);
    bytes.writeUInt32LE(0xffff_ffff, data + 4);
    const head = Buffer.from(`${name}\xff\xff\xff\xffWAVE`, 'latin1');
    return Buffer.concat([head, ds64, bytes.subarray(12)]);
  };
  const changed: [string, () => Promise<string>, (bytes: Buffer) => Buffer][] = [
    ['RF64, as field recorders write it', wav, rf64('RF64')],
    ['Wave64', () => clips.make('a.w64', tone(2)), (bytes) => bytes],
    [
      'a WAV that was written as it came',
      wav,
      (bytes) => (
        bytes.writeUInt32LE(0xffff_ffff, 4),
        bytes.writeUInt32LE(0xffff_ffff, bytes.indexOf('data') + 4),
        bytes
      ),
    ],
    ['a WAV with a stray byte', wav, (bytes) => Buffer.concat([bytes, Buffer.of(7)])],
    ['an MP3 without a Xing header', () => mp3('-q:a 4'), (bytes) => bytes],
    ['zeros before the frames', mp3, (bytes) => Buffer.concat([Buffer.alloc(1_000), bytes])],
    [
      'zeros between tag and frames',
      mp3,
      (bytes) => Buffer.concat([id3(20, Buffer.alloc(20)), Buffer.alloc(500), bytes]),
    ],
    ['a tag that is longer than it says', mp3, (bytes) => Buffer.concat([id3(20, Buffer.alloc(900, 'Title')), bytes])],
  ];
  for (const [name, make, change] of changed)
    test(name, async () => near((await sound(await clips.change(await make(), change))).metadata.duration, 2, 0.1));

  test('an MP3 whose beginning has few bits is not as long as its size suggests', async () => {
    const quiet = `-f lavfi -i aevalsrc=if(lt(t\\,1)\\,0\\,random(0)-0.5):d=5:s=44100`;
    const path = await clips.make('a.mp3', `${quiet} -c:a libmp3lame -q:a 0 -id3v2_version 0 -write_xing 0`);
    near((await sound(path, 6)).metadata.duration, 5, 0.1);
    await assert.rejects(sound(path, 4), { code: 'audio_too_long' });
  });
});

suite('nothing is in it', () => {
  const empty = async () => {
    const path = await recording();
    return clips.change(path, (bytes) => bytes.subarray(0, bytes.indexOf(Buffer.of(0x1f, 0x43, 0xb6, 0x75))));
  };
  test('no video, and no retry', () =>
    assert.rejects(async () => video(await empty()), { name: 'PermanentError', code: 'no_video_stream' }));
  test('no sound, and no retry', () =>
    assert.rejects(async () => sound(await empty()), { name: 'PermanentError', code: 'no_audio_stream' }));
});

suite('a codec that cannot be decoded is named', () => {
  const other = async () =>
    clips.change(await clips.make('a.m4a', `${tone(1)} ${aac}`), (bytes) => {
      for (const name of ['mp4a', 'esds']) bytes.write('zzzz', bytes.indexOf(name), 'latin1');
      return bytes;
    });
  test('by its name', async () => {
    const path = await clips.make('a.wv', `${tone(1)} -c:a wavpack`);
    await assert.rejects(sound(path), { name: 'PermanentError', code: 'unsupported_codec', message: /WavPack/ });
  });
  test('and one that is encrypted has a code of its own', async () => {
    const path = await clips.make(
      'a.mp4',
      `${tone(1)} ${aac} -encryption_scheme cenc-aes-ctr ` +
        `-encryption_key ${'1'.repeat(32)} -encryption_kid ${'2'.repeat(32)}`,
    );
    await assert.rejects(sound(path), { name: 'PermanentError', code: 'media_encrypted' });
  });
  test('by its four letters', () =>
    assert.rejects(async () => sound(await other()), {
      name: 'PermanentError',
      code: 'unsupported_codec',
      message: /zzzz/,
    }));
});
