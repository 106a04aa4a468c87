import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import sharp from 'sharp';
import { aac, h264, openFootage, picture, tone, turn, type Footage } from '../../support/footage.ts';
import { cornersOf, near, plain, processed } from '../../support/processed.ts';

// The pictures that processVideo makes: encoded where they have to be, upright, and the poster.

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

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
      const { made, video, audio } = await processed(clips, path);
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
  const path = await plain(clips);
  const { made, video } = await processed(clips, path, { videoBitrate: 100_000 });
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
        const { made, video } = await processed(clips, await clips.change(path, (bytes) => turn(bytes, matrix)));
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

test('a variable frame rate becomes steady, and the video as long as it was', async () => {
  const path = await clips.make(
    'vfr.mp4',
    `${picture('320x180', 4)} -vf select='lt(t,1)+between(t,2.5,4)*not(mod(n,3))' -vsync vfr ${h264}`,
  );
  const { made, video } = await processed(clips, path);
  assert.equal(made.mode, 'encode');
  near(video.fps, video.clockFps!, 0.01);
  near(made.duration, 4, 0.15);
});

test('HDR becomes SDR', async (t) => {
  if (!(await clips.ffmpeg.capabilities()).toneMapping) return t.skip('this ffmpeg has no zscale');
  const path = await clips.make(
    'hdr.mp4',
    `${picture('320x180', 0.5)} -c:v libx265 -preset ultrafast -pix_fmt yuv420p10le ` +
      '-x265-params log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc',
  );
  const { made, video } = await processed(clips, path);
  assert.equal(made.metadata.hdr, true);
  assert.deepEqual([video.hdr, video.pixelFormat], [false, 'yuv420p']);
  // The test picture is full of colour; untreated PQ is grey and pale.
  const { channels } = await sharp(made.poster.data).stats();
  assert.ok(channels.some(({ max }) => max > 180));
});

suite('the poster', () => {
  const colours = (first: string, seconds: number, second: string, rest: number) =>
    `-f lavfi -i color=${first}:s=320x180:r=30:d=${seconds} -f lavfi -i color=${second}:s=320x180:r=30:d=${rest} ` +
    `-filter_complex [0][1]concat ${h264} -g 10`;
  const colourOf = async (words: string) =>
    cornersOf((await processed(clips, await clips.make('p.mp4', words))).made.poster);

  test('is the frame at one second, a JPEG', async () => {
    const { made } = await processed(clips, await clips.make('p.mp4', colours('blue', 0.9, 'red', 1)));
    assert.equal(await cornersOf(made.poster), 'red red red red');
    const { format, width, height } = await sharp(made.poster.data).metadata();
    assert.deepEqual([format, width, height], ['jpeg', 320, 180]);
  });

  test('is the middle of what is shorter than two', async () => {
    assert.equal(await colourOf(colours('blue', 0.2, 'red', 0.3)), 'red red red red');
  });

  test('fits into 640 x 640', async () => {
    const { poster } = (await processed(clips, await clips.make('p.mp4', `${picture('1280x720', 0.2)} ${h264}`))).made;
    assert.deepEqual([poster.width, poster.height], [640, 360]);
  });
});
