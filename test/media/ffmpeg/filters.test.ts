import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { Capabilities } from '../../../worker/media/ffmpeg/capabilities.ts';
import { fit, pictureFilters, steadyFps } from '../../../worker/media/ffmpeg/filters.ts';
import { stream } from '../../support/stream.ts';

suite('fit', () => {
  const cases: [string, [number, number], [number, number], [number, number]][] = [
    ['keeps what fits', [640, 360], [1920, 1920], [640, 360]],
    ['shrinks to the box', [3840, 2160], [1920, 1920], [1920, 1080]],
    ['shrinks a tall one', [2160, 3840], [1920, 1920], [1080, 1920]],
    ['never enlarges, not by one pixel', [321, 181], [1920, 1920], [320, 180]],
    ['rounds to the nearest even number where it shrinks', [1280, 720], [854, 480], [854, 480]],
    ['stays inside an odd box', [400, 400], [75, 75], [74, 74]],
    ['keeps to whole pixels where pixels are not square', [853.99, 480], [1920, 1920], [854, 480]],
    ['leaves two pixels at least', [4000, 1], [1920, 1920], [1920, 2]],
  ];
  for (const [name, [width, height], [boxWidth, boxHeight], [fitWidth, fitHeight]] of cases)
    test(name, () =>
      assert.deepEqual(fit({ width, height }, { width: boxWidth, height: boxHeight }), {
        width: fitWidth,
        height: fitHeight,
      }),
    );
});

suite('steadyFps', () => {
  const cases: [string, number | undefined, number | undefined, number | undefined][] = [
    ['leaves a steady rate', 30, 30, undefined],
    ['leaves one that is steady but for rounding', 29.98, 30, undefined],
    ['keeps the clock of a camera that leaves out frames', 28.1, 29.97002997, 29.97],
    ['takes the average where the clock says nothing', 24.3, 90_000, 24],
    ['takes the average where the clock is twice as fast', 15, 30, 15],
    ['writes 60 at most', 100, 100, 60],
    ['writes 60 at most of an average beyond it', 89.7, 57_600, 60],
    ['writes one a second at least', 0.2, 1_000, 1],
    ['takes 30 where nothing is known', undefined, undefined, 30],
  ];
  for (const [name, fps, clockFps, expected] of cases)
    test(name, () => assert.equal(steadyFps(stream({ fps, clockFps })), expected));
});

suite('pictureFilters', () => {
  const filters = (video: Parameters<typeof stream>[0], toneMapping = true) =>
    pictureFilters(stream(video), { width: 320, height: 180 }, { toneMapping } as Capabilities).split(',');

  test('scales to square pixels in 4:2:0', () =>
    assert.deepEqual(filters({}), ['scale=320:180', 'setsar=1', 'format=yuv420p']));
  test('deinterlaces first', () => assert.equal(filters({ interlaced: true })[0], 'yadif=deint=interlaced'));
  test('makes the frame rate steady before it scales', () =>
    assert.deepEqual(filters({ fps: 24.3, clockFps: 90_000 }).slice(0, 2), ['fps=24', 'scale=320:180']));
  test('maps tones after it has scaled, where it can', () => {
    const mapped = filters({ hdr: true });
    assert.ok(mapped.indexOf('scale=320:180') < mapped.findIndex((filter) => filter.startsWith('tonemap')));
    assert.deepEqual(filters({ hdr: true }, false), filters({}));
  });
});
