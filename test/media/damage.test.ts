import assert from 'node:assert/strict';
import { test } from 'node:test';
import { damageOf, isCorrupt } from '../../worker/media/damage.ts';

// Words of ffmpeg 4.1, 5.1 and 7.1.

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
  assert.equal(isCorrupt(damageOf(harmless), 10), false);
  assert.equal(isCorrupt(damageOf(harmless.split('\n').slice(0, 8).join('\n').repeat(50)), 10), false);
});

test('a few faults are a glitch, in a long video more of them', () => {
  const faults = (count: number) =>
    damageOf('[h264 @ 0x1] error while decoding MB 12 8, bytestream -5\n'.repeat(count));
  assert.equal(isCorrupt(faults(2), 10), false);
  assert.equal(isCorrupt(faults(3), 10), true);
  assert.equal(isCorrupt(faults(60), 3_600), false);
  assert.equal(isCorrupt(faults(61), 3_600), true);
});

test('lines that it says only once count as often as it met them', () => {
  const said = `Error while decoding stream #0:0: Invalid data found when processing input
    Last message repeated 11 times
[h264 @ 0x1] mmco: unref short failure
    Last message repeated 90 times`;
  assert.deepEqual(damageOf(said), { faults: 12, broken: undefined });
});

for (const words of [
  '[mov,mp4,m4a,3gp,3g2,mj2 @ 0x5] stream 1, offset 0xbfa6c: partial file',
  '[matroska,webm @ 0x5] File ended prematurely',
  '[matroska,webm @ 0x5] Read error',
  "[matroska,webm @ 0x5] Length 7 indicated by an EBML number's first byte 0x02 at pos 765 (0x2fd) exceeds max length 4",
  '[matroska,webm @ 0x5] Element at 0x1f ending at 0x2f exceeds containing master element ending at 0x2a',
])
  test(`"${words.slice(words.indexOf(']') + 2, 60)}" is corruption at once`, () => {
    const damage = damageOf(words);
    assert.equal(isCorrupt(damage, 3_600), true);
    assert.doesNotMatch(damage.broken!, /@ 0x5/);
  });

for (const words of [
  '[mpeg4 @ 0x1] Error at MB: 143',
  '[vist#0:0/h264 @ 0x1] Error submitting packet to decoder: Invalid data found when processing input',
  'Error while decoding stream #0:0: Invalid data found when processing input',
])
  test(`"${words}" is a fault`, () => assert.equal(damageOf(words).faults, 1));
