import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { noPlayer, openPlayer, type Played, type Player } from '../support/player.ts';
import { clip, createTranscodeRig, type TranscodeRig } from '../support/transcoding.ts';

// What media.transcode makes, in a real browser: by hls.js, by dash.js, and as a plain file.

let rig: TranscodeRig;
let player: Player;
let result: TranscodeResult;

const seconds = 9;
const limits = { skip: noPlayer, timeout: 60_000 };

before(async () => {
  if (noPlayer) return;
  rig = await createTranscodeRig();
  await rig.put('clip.mp4', await clip({ size: '854x480', seconds, options: '-crf 35' }));
  result = await rig.made('clip.mp4', { formats: ['hls', 'dash', 'mp4'], thumbnails: false });
  player = await openPlayer();
});
after(async () => {
  if (noPlayer) return;
  await player.close();
  await rig.close();
});

function assertPlayed({ start, end, heights, time, errors }: Played): void {
  assert.deepEqual(errors, []);
  assert.equal(start, 0, 'picture and sound begin at 0');
  assert.ok(Math.abs(end - seconds) < 0.1, `lasts ${end} s`);
  assert.ok(Math.abs(time - end) < 0.2, `played ${time} s of ${end}`);
  assert.ok(heights.length > 0 && heights.every((height) => [360, 480].includes(height)), heights.join());
}

test('hls.js plays it to its end', limits, async () => {
  assertPlayed(await player.watch('hls', result.hls!.master_url));
});

test('hls.js changes from one rendition to another without a gap', limits, async () => {
  const played = await player.watch('hlsUpwards', result.hls!.master_url);
  assertPlayed(played);
  assert.deepEqual(played.heights, [360, 480]);
});

test('dash.js plays it to its end', limits, async () => {
  assertPlayed(await player.watch('dash', result.dash!.manifest_url));
});

test('the MP4 plays to its end by itself', limits, async () => {
  assertPlayed(await player.watch('file', result.mp4!.url));
});
