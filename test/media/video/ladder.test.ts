import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Capabilities } from '../../../worker/media/ffmpeg/capabilities.ts';
import type { VideoStream } from '../../../worker/media/ffmpeg/probe.ts';
import { ladderGraph, rateOf } from '../../../worker/media/video/ladder/graph.ts';
import { planLadder } from '../../../worker/media/video/ladder/plan.ts';
import { rungsOf } from '../../../worker/media/video/ladder/rungs.ts';

// What is decided before ffmpeg starts: which sizes, by how many processes, through which filters.

const video = (columns: Partial<VideoStream> = {}): VideoStream => {
  const { width = 1920, height = 1080 } = columns;
  return {
    index: 0,
    codec: 'h264',
    profile: 'High',
    level: 40,
    pixelFormat: 'yuv420p',
    width,
    height,
    pixelAspect: 1,
    rotation: 0,
    shown: { width, height },
    fps: 30,
    clockFps: 30,
    duration: 10,
    bitrate: undefined,
    hdr: false,
    interlaced: false,
    alpha: false,
    ...columns,
  };
};

suite('the rungs of a video', () => {
  const cases: [string, [number, number], string[]][] = [
    ['4K', [3840, 2160], ['1080p 1920x1080', '720p 1280x720', '480p 854x480', '360p 640x360']],
    ['1080p', [1920, 1080], ['1080p 1920x1080', '720p 1280x720', '480p 854x480', '360p 640x360']],
    [
      '1080p, cropped by two pixels',
      [1918, 1078],
      ['1080p 1918x1078', '720p 1282x720', '480p 854x480', '360p 640x360'],
    ],
    ['1440p', [2560, 1440], ['1080p 1920x1080', '720p 1280x720', '480p 854x480', '360p 640x360']],
    ['720p', [1280, 720], ['720p 1280x720', '480p 854x480', '360p 640x360']],
    ['a cinema film', [1920, 800], ['720p 1728x720', '480p 1152x480', '360p 864x360']],
    ['a portrait', [1080, 1920], ['1080p 1080x1920', '720p 720x1280', '480p 480x854', '360p 360x640']],
    ['a square', [640, 640], ['480p 480x480', '360p 360x360']],
    ['480p', [854, 480], ['480p 854x480', '360p 640x360']],
    ['360p', [640, 360], ['360p 640x360']],
    ['smaller than all of them', [320, 180], ['180p 320x180']],
    ['odd', [321, 181], ['180p 320x180']],
    ['tiny', [2, 2], ['2p 2x2']],
    ['a panorama', [8000, 1000], ['720p 2160x270', '480p 1440x180', '360p 1080x136']],
  ];
  for (const [name, [width, height], expected] of cases)
    test(`${name}, ${width}x${height}`, () => {
      const rungs = rungsOf({ width, height });
      assert.deepEqual(
        rungs.map((rung) => `${rung.name} ${rung.width}x${rung.height}`),
        expected,
      );
      for (const rung of rungs) assert.ok(rung.width <= width && rung.height <= height, 'never larger');
    });

  test('each may have the bits of its step, and a limit on the largest keeps the steps', () => {
    const bitrates = (limit?: number) => rungsOf({ width: 1920, height: 1080 }, limit).map(({ bitrate }) => bitrate);
    assert.deepEqual(bitrates(), [5_000_000, 2_800_000, 1_400_000, 800_000]);
    assert.deepEqual(bitrates(2_000_000), [2_000_000, 1_120_000, 560_000, 320_000]);
    assert.deepEqual(bitrates(9_000_000), bitrates());
  });

  test('what is below all steps has fewer bits, and never none', () => {
    assert.equal(rungsOf({ width: 320, height: 180 })[0]!.bitrate, 200_000);
    assert.equal(rungsOf({ width: 2, height: 2 })[0]!.bitrate, 100_000);
  });
});

suite('how a ladder is encoded in the memory that there is', () => {
  const large = video();
  const planned = (stream: VideoStream, megabytes: number) => {
    const means = { preset: 'veryfast', toneMapping: true, budget: megabytes * 1e6 } as const;
    const plan = planLadder(stream, rungsOf(stream.shown), means);
    for (const { bytes } of plan?.groups ?? []) assert.ok(bytes <= means.budget, 'within the budget');
    return (
      plan && `${plan.profile} ${plan.groups.map(({ rungs }) => rungs.map(({ name }) => name).join('+')).join(', ')}`
    );
  };

  test('all at once and fast, where there is plenty', () => {
    assert.equal(planned(large, 4000), 'fast 1080p+720p+480p+360p');
  });
  test('all at once and lean, where there is less', () => {
    assert.equal(planned(large, 400), 'lean 1080p+720p+480p+360p');
  });
  test('the largest by itself, with what MEDIA_MEMORY_MB is by default', () => {
    assert.equal(planned(large, 280), 'lean 1080p, 720p+480p+360p');
  });
  test('720p all at once, with the default', () => {
    assert.match(planned(video({ width: 1280, height: 720 }), 280)!, /^\w+ 720p\+480p\+360p$/);
  });
  test('without the largest, where it alone is too much', () => {
    assert.match(planned(large, 200)!, /^lean 720p/);
  });
  test('not at all, where the smallest is too much', () => {
    assert.equal(planned(video({ width: 7680, height: 4320, codec: 'hevc' }), 128), undefined);
  });

  test('a larger budget never makes a worse plan', () => {
    let before = '';
    for (let megabytes = 128; megabytes <= 4096; megabytes += 16) {
      const plan = planLadder(large, rungsOf(large.shown), {
        preset: 'medium',
        toneMapping: true,
        budget: megabytes * 1e6,
      });
      const rungs = plan ? plan.groups.flatMap((group) => group.rungs.map(({ name }) => name)).join() : '';
      assert.ok(rungs.length >= before.length, `${megabytes} MB: ${before}, then ${rungs}`);
      before = rungs;
    }
  });
});

suite('the filters of a ladder', () => {
  const capabilities = { toneMapping: true } as Capabilities;

  test('the picture is prepared once, and each rung scaled from the one above', () => {
    const [first, ...rest] = rungsOf({ width: 1280, height: 720 });
    assert.equal(
      ladderGraph(video({ width: 1280, height: 720 }), [first!, ...rest], { capabilities, mark: undefined }),
      '[0:0]scale=1280:720,setsar=1,format=yuv420p,fps=30/1:start_time=0[p0];' +
        '[p0]split[r0][p1];[p1]scale=854:480,setsar=1,split[r1][p2];[p2]scale=640:360,setsar=1,null[r2]',
    );
  });

  test('the watermark is laid over the largest, before it is split', () => {
    const [first] = rungsOf({ width: 640, height: 360 });
    assert.match(
      ladderGraph(video({ width: 640, height: 360 }), [first!], { capabilities, mark: { x: 10, y: 20 } }),
      /\[plain\];\[plain\]\[1:0\]overlay=10:20\[p0\];\[p0\]null\[r0\]$/,
    );
  });

  const rates: [number | undefined, number | undefined, string][] = [
    [25, 25, '25/1'],
    [30000 / 1001, 30000 / 1001, '30000/1001'],
    [24000 / 1001, 24000 / 1001, '24000/1001'],
    [60000 / 1001, 60000 / 1001, '60000/1001'],
    [29.97, 29.97, '30000/1001'],
    [12.5, 12.5, '12500/1000'],
    [120, 120, '60/1'],
    [undefined, undefined, '30/1'],
  ];
  for (const [fps, clockFps, expected] of rates)
    test(`${fps} frames a second become ${expected}`, () => {
      const { above, below } = rateOf(video({ fps, clockFps }));
      assert.equal(`${above}/${below}`, expected);
    });
});
