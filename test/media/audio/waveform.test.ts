import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWaveform } from '../../../worker/media/audio/waveform.ts';

/** What it ought to be, from all samples at once. */
function reference(samples: Int16Array, channels: number, count: number): number[] {
  const frames = samples.length / channels;
  const peaks = Array.from({ length: count }, (_, index) => {
    const from = Math.floor((index * frames) / count) * channels;
    const to = Math.ceil(((index + 1) * frames) / count) * channels;
    return samples.subarray(from, to).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  });
  const top = Math.max(...peaks);
  return peaks.map((peak) => (top === 0 ? 0 : Math.round((100 * peak) / top)));
}

/** A sound that swells and fades, a little different on each channel. */
function swelling(frames: number, channels: number): Int16Array {
  return Int16Array.from({ length: frames * channels }, (_, index) => {
    const frame = Math.floor(index / channels);
    const loudness = 2_000 + 28_000 * Math.sin((Math.PI * frame) / frames) ** 2;
    return Math.round(loudness * Math.sin(frame / 3 + (index % channels)));
  });
}

function drawn(samples: Int16Array, channels: number, chunk = 65_536): number[] {
  const waveform = createWaveform(channels);
  const bytes = new Uint8Array(samples.buffer);
  for (let at = 0; at < bytes.length; at += chunk) waveform.add(bytes.subarray(at, at + chunk));
  return waveform.bars(100);
}

for (const [frames, channels] of [
  [30_000, 1],
  [262_144, 1],
  [262_145, 2],
  [1_000_003, 2],
  [300_000, 6],
] as const)
  test(`${frames} samples of ${channels} channels are drawn as they are, to 2 of 100`, () => {
    const samples = swelling(frames, channels);
    const expected = reference(samples, channels, 100);
    for (const [index, bar] of drawn(samples, channels).entries())
      assert.ok(Math.abs(bar - expected[index]!) <= 2, `bar ${index} is ${bar}, not ${expected[index]}`);
  });

test('it does not matter where chunks end', () => {
  const samples = swelling(20_000, 2);
  for (const chunk of [1, 3, 7, 4_097]) assert.deepEqual(drawn(samples, 2, chunk), drawn(samples, 2));
});

test('the loudest is 100 however quiet it is, silence is 0, and so is nothing', () => {
  const quiet = swelling(10_000, 1).map((sample) => sample / 1_000);
  assert.equal(Math.max(...drawn(quiet, 1)), 100);
  assert.deepEqual(drawn(new Int16Array(10_000), 1), Array(100).fill(0));
  assert.deepEqual(drawn(new Int16Array(0), 1), Array(100).fill(0));
});

test('the lowest sample is as loud as the highest', () => {
  assert.deepEqual(drawn(Int16Array.of(-32_768), 1), Array(100).fill(100));
});
