import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFile } from 'node:fs/promises';
import { after, before, suite, test } from 'node:test';
import sharp from 'sharp';
import { createMemoryGate } from '../../worker/media/memory.ts';
import { processVideo, type ProcessedVideo } from '../../worker/media/video.ts';
import { aac, damage, h264, openFootage, picture, tone, turn, type Footage } from '../support/footage.ts';
import { tracesOfPlace } from '../support/place.ts';

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

type Settings = Partial<Parameters<typeof processVideo>[1]['settings']>;

async function processed(path: string, settings: Settings = {}, shares: number[] = []) {
  const dir = await clips.folder();
  // As a worker does: the file is in the folder, and has no name of its own.
  const original = join(dir, 'original');
  await writeFile(original, await readFile(path));
  const { ffmpeg } = clips;
  const made = await processVideo(original, {
    ffmpeg,
    memory: createMemoryGate({ bytes: 600e6, slots: 2 }),
    settings: { preset: 'ultrafast', videoBitrate: undefined, audioBitrate: 64_000, maxSeconds: 100, ...settings },
    dir,
    signal: new AbortController().signal,
    onProgress: (share) => shares.push(share),
  });
  const probe = await ffmpeg.probe(made.path, { dir, signal: new AbortController().signal });
  return { made, probe, video: probe.video[0]!, audio: probe.audio[0] };
}

/** A clip that every player takes as it is. */
const plain = (name = 'plain.mp4', seconds = 2) =>
  clips.make(name, `${picture('320x180', seconds)} ${tone(seconds)} -shortest ${h264} ${aac} -movflags +faststart`);

const near = (found: number | undefined, expected: number, by: number) =>
  assert.ok(Math.abs(found! - expected) <= by, `${found} is not within ${by} of ${expected}`);

/** The messages between the parts of a picture (SEI) are not copied. */
const withoutMessages = '-bsf:v filter_units=remove_types=6';

test('a video that plays everywhere is copied: its packets are the same, its index is in front', async () => {
  const path = await plain();
  const { made, probe, video, audio } = await processed(path);
  const { mode, width, height, metadata } = made;
  assert.deepEqual([mode, width, height, video.codec, audio?.codec], ['copy', 320, 180, 'h264', 'aac']);
  near(made.duration, 2, 0.05);
  const { duration, bytes, bitrate, ...rest } = metadata;
  assert.deepEqual(rest, {
    format: 'mp4',
    codec: 'h264',
    width: 320,
    height: 180,
    fps: 30,
    rotation: 0,
    hdr: false,
    audio_codec: 'aac',
    audio_channels: 1,
    audio_sample_rate: 44_100,
  });
  near(duration, 2, 0.05);
  assert.equal(bytes, (await readFile(path)).length);
  assert.ok(bitrate! > 1000);
  assert.equal(probe.bytes, made.bytes);

  const packets = (of: string) => clips.read(of, `-map 0 -c copy ${withoutMessages} -f md5`);
  assert.deepEqual(await packets(made.path), await packets(path));
  const file = await readFile(made.path);
  assert.ok(file.indexOf('moov') < file.indexOf('mdat'));
});

test('where it was taken, and when, is in none of what comes out', async () => {
  const place = '-metadata location=+48.1374+011.5755/ -metadata location-eng=+48.1374+011.5755/';
  const written = `${place} -metadata creation_time=2024-05-06T07:08:09Z -metadata com.apple.quicktime.location.ISO6709=+48.1374+011.5755/`;
  const of = (codecs: string) =>
    clips.make('gps.mov', `${picture('320x180', 1)} ${tone(1)} ${codecs} ${written} -movflags use_metadata_tags`);
  for (const codecs of [`${h264} ${aac}`, `${h264} -c:a pcm_s16le`, `-c:v mpeg4 ${aac}`]) {
    const path = await of(codecs);
    assert.notDeepEqual(await tracesOfPlace(path), []);
    const { made } = await processed(path);
    assert.deepEqual(await tracesOfPlace(made.path), []);
    assert.equal((await sharp(made.poster.data).metadata()).exif, undefined);
  }
});

test('only the sound is encoded where only the sound is wrong', async () => {
  const path = await clips.make(
    'sound.mp4',
    `${picture('320x180', 2)} -f lavfi -i anoisesrc=d=2:a=0.2 ${h264} -c:a ac3 -ac 6 -ar 48000`,
  );
  const { made, audio } = await processed(path);
  assert.deepEqual([made.mode, audio?.codec, audio?.channels], ['copy_picture', 'aac', 2]);
  assert.equal(made.metadata.audio_channels, 6);
  const frames = (of: string) => clips.read(of, `-map 0:v -c copy ${withoutMessages} -f md5`);
  assert.deepEqual(await frames(made.path), await frames(path));
});

suite('what does not play everywhere is encoded', () => {
  const cases: [string, string, string, { width: number; height: number }][] = [
    [
      'HEVC',
      'a.mp4',
      `${picture('320x180', 1)} ${tone(1)} -c:v libx265 -preset ultrafast -x265-params log-level=error ${aac}`,
      { width: 320, height: 180 },
    ],
    [
      'WebM, with odd sides',
      'a.webm',
      `${picture('321x181', 1)} ${tone(1)} -c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis`,
      { width: 320, height: 180 },
    ],
    ['AVI', 'a.avi', `${picture('320x180', 1)} ${tone(1)} -c:v mpeg4 -c:a mp3`, { width: 320, height: 180 }],
    [
      'pixels that are not square',
      'a.mp4',
      `${picture('320x360', 1)} -vf setsar=2 ${h264}`,
      { width: 640, height: 360 },
    ],
    ['interlaced', 'a.mp4', `${picture('320x180', 1)} ${h264} -flags +ilme+ildct -top 1`, { width: 320, height: 180 }],
    [
      '4:4:4',
      'a.mp4',
      `${picture('320x180', 1)} -c:v libx264 -preset ultrafast -pix_fmt yuv444p`,
      { width: 320, height: 180 },
    ],
    ['a picture that is too large', 'a.mp4', `${picture('2560x1440', 0.3)} ${h264}`, { width: 1920, height: 1080 }],
    ['a tall one', 'a.mp4', `${picture('240x2000', 0.3)} ${h264}`, { width: 230, height: 1920 }],
    ['a frame rate beyond 60', 'a.mp4', `${picture('320x180', 1, 100)} ${h264}`, { width: 320, height: 180 }],
    ['a tiny one', 'a.mp4', `${picture('2x2', 0.5)} -c:v mpeg4`, { width: 2, height: 2 }],
  ];
  for (const [name, file, words, size] of cases)
    test(name, async () => {
      const path = await clips.make(file, words);
      const { made, video, audio } = await processed(path);
      assert.deepEqual({ mode: made.mode, width: made.width, height: made.height }, { mode: 'encode', ...size });
      const { codec, pixelFormat, pixelAspect, rotation, interlaced, fps } = video;
      assert.deepEqual(
        { codec, pixelFormat, pixelAspect, rotation, interlaced },
        { codec: 'h264', pixelFormat: 'yuv420p', pixelAspect: 1, rotation: 0, interlaced: false },
      );
      assert.ok(fps! <= 60);
      assert.equal(audio?.codec, words.includes('sine') ? 'aac' : undefined);
      near(made.duration, Number(/:d=([\d.]+)/.exec(words)![1]), 0.1);
    });
});

test('a bit rate beyond VIDEO_BITRATE is encoded down to it', async () => {
  const path = await plain();
  const { made, video } = await processed(path, { videoBitrate: 100_000 });
  assert.equal(made.mode, 'encode');
  assert.ok(video.bitrate! < 250_000, `${video.bitrate} b/s`);
  assert.ok(made.metadata.bitrate! > 500_000, `${made.metadata.bitrate} b/s`);
});

suite('a video that is to be turned', () => {
  const turns: [string, [number, number, number, number], string][] = [
    ['by 90 degrees', [0, 1, -1, 0], 'blue red white green'],
    ['by 180 degrees', [-1, 0, 0, -1], 'white blue green red'],
    ['by 270 degrees', [0, -1, 1, 0], 'green white red blue'],
    ['and mirrored', [-1, 0, 0, 1], 'green red white blue'],
  ];
  for (const [name, matrix, corners] of turns)
    for (const codec of [h264, '-c:v mpeg4 -q:v 2'])
      test(`${name} is upright, as ${codec.split(' ')[1]}`, async (t) => {
        if (name.includes('mirrored') && clips.old) return t.skip('this ffmpeg does not mirror');
        const blocks = ['red', 'green', 'blue', 'white'].map(
          (color) => `-f lavfi -i color=${color}:s=160x90:r=30:d=0.6`,
        );
        const stacked = '-filter_complex [0][1]hstack[a];[2][3]hstack[b];[a][b]vstack';
        const path = await clips.make('corners.mp4', `${blocks.join(' ')} ${stacked} ${codec}`);
        const { made, video } = await processed(await clips.change(path, (bytes) => turn(bytes, matrix)));
        const upright = matrix[0] === 0 ? { width: 180, height: 320 } : { width: 320, height: 180 };
        assert.equal(made.mode, codec === h264 ? 'copy' : 'encode');
        assert.deepEqual({ width: made.width, height: made.height }, upright);
        assert.deepEqual(video.shown, upright);
        assert.deepEqual(
          { width: made.metadata.width, height: made.metadata.height },
          upright,
          'the metadata are those of the upright picture',
        );
        assert.equal(await cornersOf(made.poster), corners);
      });
});

async function cornersOf({ data, width, height }: ProcessedVideo['poster']): Promise<string> {
  const { data: pixels, info } = await sharp(data).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => {
    const from = (Math.round(y * height) * info.width + Math.round(x * width)) * info.channels;
    const [r, g, b] = [...pixels.subarray(from, from + 3)].map((value) => value > 90);
    return r && g && b ? 'white' : r ? 'red' : g ? 'green' : 'blue';
  };
  return [at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)].join(' ');
}

test('a variable frame rate becomes steady, and the video as long as it was', async () => {
  const path = await clips.make(
    'vfr.mp4',
    `${picture('320x180', 4)} -vf select='lt(t,1)+between(t,2.5,4)*not(mod(n,3))' -vsync vfr ${h264}`,
  );
  const { made, video } = await processed(path);
  assert.equal(made.mode, 'encode');
  near(video.fps, video.clockFps!, 0.01);
  near(made.duration, 4, 0.15);
});

test('HDR becomes SDR', async (t) => {
  if (!(await clips.ffmpeg.capabilities()).toneMapping) return t.skip('this ffmpeg has no zscale');
  const path = await clips.make(
    'hdr.mp4',
    `${picture('320x180', 0.5)} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc`,
  );
  const { made, video } = await processed(path);
  assert.equal(made.metadata.hdr, true);
  assert.deepEqual([video.hdr, video.pixelFormat], [false, 'yuv420p']);
  // The test picture is full of colour; untreated PQ is grey and pale.
  const { channels } = await sharp(made.poster.data).stats();
  assert.ok(channels.some(({ max }) => max > 180));
});

test('of several sounds the one that its maker put first is kept, of none there is none', async () => {
  const path = await clips.make(
    'two.mp4',
    `${picture('320x180', 1)} ${tone(1, 300)} ${tone(1, 3000)} -map 0 -map 1 -map 2 ${h264} ${aac} -ac:a:1 2 -disposition:a:0 0 -disposition:a:1 default`,
  );
  const { made, probe } = await processed(path);
  assert.deepEqual([made.metadata.audio_channels, probe.audio.length, probe.audio[0]!.channels], [2, 1, 2]);
  const silent = await clips.make('silent.mp4', `${picture('320x180', 1)} ${h264}`);
  const mute = await processed(silent);
  assert.deepEqual([mute.made.mode, mute.audio, mute.made.metadata.audio_codec], ['copy', undefined, null]);
});

test('a sound that cannot be decoded is left out', async () => {
  const path = await clips.change(await plain(), (bytes) => {
    for (const name of ['mp4a', 'esds']) bytes.write('zzzz', bytes.indexOf(name));
    return bytes;
  });
  const { audio, made } = await processed(path);
  assert.deepEqual([audio, made.metadata.audio_codec], [undefined, null]);
});

suite('the poster', () => {
  const colours = (first: string, seconds: number, second: string, rest: number) =>
    `-f lavfi -i color=${first}:s=320x180:r=30:d=${seconds} -f lavfi -i color=${second}:s=320x180:r=30:d=${rest} -filter_complex [0][1]concat ${h264} -g 10`;
  const colourOf = async (words: string) => cornersOf((await processed(await clips.make('p.mp4', words))).made.poster);

  test('is the frame at one second, a JPEG', async () => {
    const { made } = await processed(await clips.make('p.mp4', colours('blue', 0.9, 'red', 1)));
    assert.equal(await cornersOf(made.poster), 'red red red red');
    const { format, width, height } = await sharp(made.poster.data).metadata();
    assert.deepEqual([format, width, height], ['jpeg', 320, 180]);
  });

  test('is the middle of what is shorter than two', async () => {
    assert.equal(await colourOf(colours('blue', 0.2, 'red', 0.3)), 'red red red red');
  });

  test('fits into 640 x 640', async () => {
    const { poster } = (await processed(await clips.make('p.mp4', `${picture('1280x720', 0.2)} ${h264}`))).made;
    assert.deepEqual([poster.width, poster.height], [640, 360]);
  });
});

suite('refused', () => {
  const refuses =
    (code: string | RegExp, path: () => Promise<string>, settings: Settings = {}, says = /./) =>
    async () => {
      await assert.rejects(processed(await path(), settings), (error: Error & { code: string }) => {
        assert.equal(error.name, 'PermanentError', error.stack);
        assert.match(error.code, new RegExp(code), error.stack);
        assert.match(error.message, says);
        assert.doesNotMatch(error.message, /clips-|original/, 'it names no path of this machine');
        return true;
      });
    };
  const file = async (name: string, bytes: Buffer) => {
    const path = join(await clips.folder(), name);
    await writeFile(path, bytes);
    return path;
  };
  const cut = async (path: string) => clips.change(path, (bytes) => bytes.subarray(0, bytes.length * 0.6));
  /** The duration of a Matroska's header, in milliseconds. */
  const lying = async (milliseconds: number) =>
    clips.change(await clips.make('a.mkv', `${picture('320x180', 1)} ${h264}`), (bytes) => {
      const at = bytes.indexOf(Buffer.of(0x44, 0x89, 0x88));
      bytes.writeDoubleBE(milliseconds, at + 3);
      return bytes;
    });
  const mpeg4 = () => clips.make('a.mp4', `${picture('320x180', 4)} -c:v mpeg4 -q:v 3 -movflags +faststart`);
  const mkv = () => clips.make('a.mkv', `${picture('320x180', 4)} ${tone(4)} ${h264} ${aac}`);

  test(
    'noise',
    refuses('not_media', () => file('a.mp4', damage(Buffer.alloc(200_000), 100_000)), {}, /no known format/),
  );
  test(
    'text',
    refuses('not_media', () => file('a.mp4', Buffer.from('ffconcat version 1.0\nfile secret.mp4\n'))),
  );
  test(
    'a picture, by its name',
    refuses(
      'not_media',
      async () =>
        file(
          'a.mp4',
          await sharp({ create: { width: 9, height: 9, channels: 3, background: 'red' } })
            .png()
            .toBuffer(),
        ),
      {},
      /image\/png/,
    ),
  );
  test(
    'sound alone',
    refuses('no_video_stream', () => clips.make('a.m4a', `${tone(1)} ${aac}`)),
  );
  test(
    'a side beyond 8192 pixels',
    refuses('video_too_large', () => clips.make('a.mp4', `${picture('8200x64', 0.1)} ${h264}`), {}, /8200 x 64/),
  );
  test(
    'more than 120 frames a second',
    refuses('frame_rate_too_high', () => clips.make('a.mp4', `${picture('64x64', 0.2, 480)} ${h264}`), {}, /480/),
  );
  test(
    'a video that is too long',
    refuses('video_too_long', () => plain('long.mp4', 3), { maxSeconds: 2 }, /3 s.*VIDEO_MAX_SECONDS/),
  );
  test(
    'a cut off MP4 that would be copied',
    refuses('media_truncated', async () => cut(await plain('cut.mp4', 4))),
  );
  test(
    'a cut off MP4 that would be encoded',
    refuses('media_truncated', async () => cut(await mpeg4())),
  );
  test(
    'a cut off Matroska',
    refuses('media_truncated', async () => cut(await mkv())),
  );
  test(
    'one that says that it lasts longer than it does',
    refuses('media_truncated', () => lying(50_000), {}, /50\.0 s/),
  );
  test(
    'one that says that it lasts for days',
    refuses('media_truncated', () => lying(143_165_000), {}, /143165 s/),
  );
  test(
    'damage in one that would be copied',
    refuses('media_corrupt', async () => clips.change(await plain('d.mp4', 4), (bytes) => damage(bytes, 30_000))),
  );
  test(
    'damage in one that is encoded',
    refuses('media_corrupt', async () =>
      clips.change(await mpeg4(), (bytes) => {
        for (let part = 0.1; part < 0.5; part += 0.03)
          damage(bytes.subarray(0, Math.floor(bytes.length * part * 2)), 200);
        return bytes;
      }),
    ),
  );
  test(
    'a Matroska whose parts do not fit',
    refuses(/media_corrupt|media_truncated/, async () => clips.change(await mkv(), (bytes) => damage(bytes, 100_000))),
  );
});

test('one that would be copied is encoded where a key frame may be damaged, so that all of it is looked at', async () => {
  const path = await clips.change(await plain('key.mp4'), (bytes) => {
    const from = bytes.indexOf('mdat') + 4_000;
    damage(bytes.subarray(from - 32, from + 96), 64);
    return bytes;
  });
  assert.equal((await processed(path)).made.mode, 'encode');
});

test('a glitch is let through', async () => {
  const path = await clips.make('a.mp4', `${picture('320x180', 4)} -c:v mpeg4 -q:v 3 -movflags +faststart`);
  const { made } = await processed(await clips.change(path, (bytes) => damage(bytes, 64)));
  assert.equal(made.mode, 'encode');
  near(made.duration, 4, 0.1);
});

test('progress goes up to the end', async () => {
  const shares: number[] = [];
  await processed(await clips.make('a.mp4', `${picture('640x360', 3)} -c:v mpeg4`), {}, shares);
  assert.ok(shares.length > 0);
  assert.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  );
  assert.ok(shares.at(-1)! > 0.9 && shares.at(-1)! <= 1);
});
