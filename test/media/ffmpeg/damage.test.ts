import assert from 'node:assert/strict';
import { test } from 'node:test';
import { areMany, damageOf } from '../../../worker/media/ffmpeg/damage.ts';

// Words of ffmpeg of 2018, 4.1, 5.1 and 7.1.

const harmless = `[h264 @ 0x55d0] mmco: unref short failure
[h264 @ 0x55d0] co located POCs unavailable
[h264 @ 0x55d0] number of reference frames (0+5) exceeds max (4; probably corrupt input), discarding one
[h264 @ 0x55d0] Missing reference picture, default is 65530
[h264 @ 0x55d0] reference picture missing during reorder
[hevc @ 0x55d0] Could not find ref with POC 42
[mov,mp4,m4a,3gp,3g2,mj2 @ 0x55d0] Referenced QT chapter track not found
[mp4 @ 0x55d0] Application provided invalid, non monotonically increasing dts to muxer in stream 0: 512 >= 512
[aac @ 0x55d0] Input buffer exhausted before END element found
Error while decoding stream #0:1: Invalid data found when processing input
`;

test('what clips of phones make it say is no corruption, however often', () => {
  assert.deepEqual(damageOf(harmless), { faults: 1, broken: undefined });
  const often = harmless.split('\n').slice(0, 8).join('\n').repeat(50);
  assert.deepEqual(damageOf(often), { faults: 0, broken: undefined });
});

test('a few faults are a glitch, in a long video more of them', () => {
  assert.equal(damageOf('[h264 @ 0x1] error while decoding MB 12 8, bytestream -5\n'.repeat(3)).faults, 3);
  assert.deepEqual([areMany(2, 10), areMany(3, 10)], [false, true]);
  assert.deepEqual([areMany(60, 3_600), areMany(61, 3_600)], [false, true]);
});

test('lines that it says only once count as often as it met them', () => {
  const said = `Error while decoding stream #0:0: Invalid data found when processing input
    Last message repeated 11 times
[h264 @ 0x1] mmco: unref short failure
    Last message repeated 90 times`;
  assert.deepEqual(damageOf(said), { faults: 12, broken: undefined });
});

const broken: [string, string][] = [
  ['cut', '[mov,mp4,m4a,3gp,3g2,mj2 @ 0x5] stream 1, offset 0xbfa6c: partial file'],
  ['cut', '[matroska,webm @ 0x5] File ended prematurely'],
  ['cut', '[matroska,webm @ 0x5] Read error'],
  [
    'misfit',
    "[matroska,webm @ 0x5] Length 7 indicated by an EBML number's first byte 0x02 at pos 765 (0x2fd) " +
      'exceeds max length 4',
  ],
  ['overrun', 'Truncating packet of size 1104491 to 339214'],
  ['misfit', '[matroska,webm @ 0x5] Element at 0x1f ending at 0x2f exceeds containing master element ending at 0x2a'],
];
for (const [how, words] of broken)
  test(`"${words.slice(words.indexOf(']') + 2, 60)}" is a container that is broken`, () =>
    assert.equal(damageOf(words).broken, how));

for (const words of [
  '[mpeg4 @ 0x1] Error at MB: 143',
  '[vist#0:0/h264 @ 0x1] Error submitting packet to decoder: Invalid data found when processing input',
  'Error while decoding stream #0:0: Invalid data found when processing input',
])
  test(`"${words}" is a fault`, () => assert.equal(damageOf(words).faults, 1));
