import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { gridOf, storyboardVtt } from '../../../worker/media/video/storyboard.ts';
import { dashManifest, timeline } from '../../../worker/media/video/streaming/dash.ts';
import {
  bandwidthOf,
  masterPlaylist,
  readPlaylist,
  type PictureTrack,
  type Track,
} from '../../../worker/media/video/streaming/hls.ts';
import { readInit } from '../../../worker/media/video/streaming/init.ts';
import { placeOf, positions } from '../../../worker/media/video/position.ts';

// What is written about streams: playlists, manifests, storyboards. Pure; that players understand it is seen in
// media-transcode-streams.test.ts.

const segments = (...all: [number, number][]) =>
  all.map(([seconds, bytes], n) => ({ file: `0000${n}.m4s`, seconds, bytes }));
const picture = (name: string, width: number, height: number, bytes: number): PictureTrack => ({
  name,
  width,
  height,
  rate: { above: 30000, below: 1001 },
  init: 'init_0.mp4',
  codec: 'avc1.64001f',
  timescale: 30000,
  segments: segments([4.004, bytes], [4.004, bytes], [1.001, bytes]),
});
const sound: Track = {
  name: 'audio',
  init: 'init_2.mp4',
  codec: 'mp4a.40.2',
  timescale: 48000,
  segments: segments([4, 64_000], [5, 80_000]),
};
const pictures = [picture('720p', 1280, 720, 1_001_000), picture('360p', 640, 360, 250_250)];

suite('bandwidth', () => {
  const cases: [string, [number, number][], { peak: number; average: number }][] = [
    ['one segment', [[4, 1000]], { peak: 2000, average: 2000 }],
    [
      'the peak is the highest segment',
      [
        [4, 1000],
        [4, 3000],
      ],
      { peak: 6000, average: 4000 },
    ],
    [
      'a stub at the end does not count by itself',
      [
        [4, 1000],
        [0.1, 500],
      ],
      { peak: 2927, average: 2927 },
    ],
    [
      'half a segment counts',
      [
        [4, 1000],
        [2, 2000],
      ],
      { peak: 8000, average: 4000 },
    ],
    ['only a stub', [[0.4, 100]], { peak: 2000, average: 2000 }],
  ];
  for (const [name, all, expected] of cases)
    test(name, () => assert.deepEqual(bandwidthOf(segments(...all)), expected));
});

test('a master playlist has the smallest first, and what RFC 8216 and players ask for', () => {
  assert.deepEqual(masterPlaylist(pictures, sound).split('\n'), [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    '#EXT-X-INDEPENDENT-SEGMENTS',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",' +
      'URI="audio/playlist.m3u8"',
    '#EXT-X-STREAM-INF:BANDWIDTH=928000,AVERAGE-BANDWIDTH=794667,CODECS="avc1.64001f,mp4a.40.2",' +
      'RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio"',
    '360p/playlist.m3u8',
    '#EXT-X-STREAM-INF:BANDWIDTH=3328000,AVERAGE-BANDWIDTH=2794667,CODECS="avc1.64001f,mp4a.40.2",' +
      'RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"',
    '720p/playlist.m3u8',
    '',
  ]);
  assert.doesNotMatch(masterPlaylist(pictures, undefined), /AUDIO|mp4a/);
});

test('a manifest has the times of all segments in ticks', () => {
  const mpd = dashManifest(pictures, sound);
  assert.match(mpd, /mediaPresentationDuration="PT9\.009S"/);
  assert.match(
    mpd,
    /<Representation id="720p" codecs="avc1\.64001f" bandwidth="3200000" width="1280" height="720" frameRate="30000/,
  );
  assert.match(
    mpd,
    /timescale="30000" initialization="720p\/init_0\.mp4" media="720p\/\$Number%05d\$\.m4s" startNumber="0"/,
  );
  assert.match(mpd, /<S t="0" d="120120" r="1"\/>\s+<S d="30030"\/>/);
  assert.match(mpd, /<Representation id="audio" codecs="mp4a\.40\.2" bandwidth="128000" audioSamplingRate="48000">/);
  assert.equal(dashManifest(pictures, undefined).match(/<AdaptationSet/g)!.length, 1);
});

test('a manifest that lists its segments names each of them, at the same times', () => {
  const mpd = dashManifest(pictures, sound, true);
  const names = [...mpd.matchAll(/(?:sourceURL|media)="([^"]+)"/g)].map(([, name]) => name);
  const of = (name: string, init: string, count: number) =>
    [init, ...['00000.m4s', '00001.m4s', '00002.m4s'].slice(0, count)].map((file) => `${name}/${file}`);
  const expected = [of('720p', 'init_0.mp4', 3), of('360p', 'init_0.mp4', 3), of('audio', 'init_2.mp4', 2)];
  assert.deepEqual(names, expected.flat());
  assert.doesNotMatch(mpd, /SegmentTemplate|isoff-live/);
  const times = (manifest: string) => manifest.match(/<S .*/g);
  assert.deepEqual(times(mpd), times(dashManifest(pictures, sound)));
});

test('times are run-length coded, and rounded to whole ticks', () => {
  assert.deepEqual(timeline(segments([4.010667, 1], [4.010667, 1], [3.989333, 1]), 48_000), [
    '<S t="0" d="192512" r="1"/>',
    '<S d="191488"/>',
  ]);
});

test('a playlist is read, and one without its end is refused', () => {
  const text =
    '#EXTM3U\n#EXT-X-MAP:URI="init_0.mp4"\n#EXTINF:4.004000,\n00000.m4s\n' +
    '#EXTINF:1.500000,\n00001.m4s\n#EXT-X-ENDLIST\n';
  assert.deepEqual(readPlaylist(text), {
    init: 'init_0.mp4',
    segments: [
      { seconds: 4.004, file: '00000.m4s' },
      { seconds: 1.5, file: '00001.m4s' },
    ],
  });
  for (const broken of [
    '',
    text.replace('#EXT-X-ENDLIST\n', ''),
    text.replace(/#EXT-X-MAP.*\n/, ''),
    '#EXTM3U\n#EXT-X-ENDLIST',
  ])
    assert.throws(() => readPlaylist(broken), RangeError);
});

test('an initialisation segment that is cut off or of another kind is refused', () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('moov'),
    Buffer.alloc(100),
    Buffer.from('0000000c6d6f6f7600000000', 'hex'),
  ])
    assert.throws(() => readInit(bytes), RangeError);
});

suite('a storyboard', () => {
  const cases: [number, { interval: number; count: number; columns: number; rows: number }][] = [
    [0.5, { interval: 2, count: 1, columns: 1, rows: 1 }],
    [2.02, { interval: 2, count: 1, columns: 1, rows: 1 }],
    [5, { interval: 2, count: 3, columns: 3, rows: 1 }],
    [60, { interval: 2, count: 30, columns: 10, rows: 3 }],
    [200, { interval: 2, count: 100, columns: 10, rows: 10 }],
    [201, { interval: 4, count: 51, columns: 10, rows: 6 }],
    [14_400, { interval: 144, count: 100, columns: 10, rows: 10 }],
  ];
  for (const [seconds, expected] of cases)
    test(`of ${seconds} s has ${expected.count} pictures, one every ${expected.interval} s`, () => {
      const { tile, ...grid } = gridOf({ width: 640, height: 360 }, seconds);
      assert.deepEqual(grid, expected);
      assert.deepEqual(tile, { width: 160, height: 90 });
    });

  test('has a cue for each picture, without gaps, to the end', () => {
    const grid = gridOf({ width: 360, height: 640 }, 23.5);
    const cues = storyboardVtt(grid, 23.5, 'storyboard.jpg').trim().split('\n\n').slice(1);
    assert.equal(cues.length, 12);
    assert.equal(cues[0], '00:00:00.000 --> 00:00:02.000\nstoryboard.jpg#xywh=0,0,90,160');
    assert.equal(cues[9], '00:00:18.000 --> 00:00:20.000\nstoryboard.jpg#xywh=810,0,90,160');
    assert.equal(cues[11], '00:00:22.000 --> 00:00:23.500\nstoryboard.jpg#xywh=90,160,90,160');
  });

  test('counts hours', () => {
    const cues = storyboardVtt(gridOf({ width: 640, height: 360 }, 14_400), 14_400, 's.jpg');
    assert.match(cues, /03:57:36\.000 --> 04:00:00\.000\ns\.jpg#xywh=1440,810,160,90\n$/);
  });
});

test('a watermark is inside of the video, at even pixels, wherever it goes', () => {
  for (const frame of [
    { width: 1920, height: 1080 },
    { width: 90, height: 160 },
    { width: 2, height: 2 },
  ])
    for (const mark of [
      { width: 288, height: 101 },
      { width: 13, height: 160 },
      { width: 2, height: 2 },
    ])
      for (const position of positions) {
        const { x, y } = placeOf(position, mark, frame);
        assert.ok(x >= 0 && y >= 0 && x % 2 === 0 && y % 2 === 0, `${position} ${x},${y}`);
        if (mark.width <= frame.width) assert.ok(x + mark.width <= frame.width, `${position} ${x}`);
        if (mark.height <= frame.height) assert.ok(y + mark.height <= frame.height, `${position} ${y}`);
      }
});
