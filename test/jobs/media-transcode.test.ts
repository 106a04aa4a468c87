import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, beforeEach, test } from 'node:test';
import sharp from 'sharp';
import type { TranscodeResult } from '../../worker/jobs/media/transcode.ts';
import { eventually } from '../support/eventually.ts';
import { keyOf } from '../support/media-rig.ts';
import { blue, clip, createTranscodeRig, namedBy, text, type TranscodeRig } from '../support/transcoding.ts';

// media.transcode end to end: a row, ffmpeg, S3 over a socket; what it makes, and what it refuses.

let rig: TranscodeRig;
before(async () => {
  rig = await createTranscodeRig();
  await rig.put('blue.mp4', await blue());
  const picture = sharp({ create: { width: 40, height: 40, channels: 4, background: '#ff0000' } });
  await rig.put('logo.webp', await picture.webp().toBuffer());
});
beforeEach(() => {
  rig.s3.heal();
  rig.s3.requests.length = 0;
});
after(() => rig.close());

/**
 * The addresses that a manifest names: one initialisation segment and as many others as there are times, for each
 * representation.
 */
function namedByManifest(mpd: string, url: string): string[] {
  return mpd
    .split('<Representation')
    .slice(1)
    .flatMap((part) => {
      const [, init, media] = /initialization="([^"]+)" media="([^"]+)"/.exec(part)!;
      const times = [...part.matchAll(/<S [^>]*?(?:r="(\d+)")?\/>/g)].reduce(
        (sum, [, r]) => sum + 1 + Number(r ?? 0),
        0,
      );
      const files = Array.from({ length: times }, (_, n) => media!.replace('$Number%05d$', String(n).padStart(5, '0')));
      return [init!, ...files].map((file) => new URL(file, url).href);
    });
}

test('a video becomes HLS, DASH and MP4, with thumbnails and a storyboard, and its row of media says so', async () => {
  const original = await clip({ size: '854x480', seconds: 5 });
  await rig.put('uploads/seed.mp4', original);
  rig.s3.requests.length = 0;
  const [media] = await rig.sql(`insert into media (source_key) values ('uploads/seed.mp4') returning id`);
  const options = { formats: ['hls', 'dash', 'mp4'], watermark: true, thumbnails: true };
  const row = await rig.transcode('/uploads/seed.mp4', options, { file_id: media!.id });
  assert.equal(row.status, 'completed', row['error']);
  const result = row['result'] as TranscodeResult;
  const { hls, dash, mp4, renditions, thumbnails, storyboard, metadata } = result;

  assert.deepEqual(
    renditions.map(({ name, width, height, fps }) => ({ name, width, height, fps })),
    [
      { name: '480p', width: 854, height: 480, fps: 25 },
      { name: '360p', width: 640, height: 360, fps: 25 },
    ],
  );
  const { codec, width, height, rotation, audio_codec, bytes } = metadata;
  assert.deepEqual(
    { codec, width, height, rotation, audio_codec, bytes },
    { codec: 'h264', width: 854, height: 480, rotation: 0, audio_codec: 'aac', bytes: original.length },
  );
  assert.ok(Math.abs(metadata.duration - 5) < 0.1 && metadata.bitrate! > 100_000);
  assert.equal(result.url, mp4!.url);
  assert.deepEqual(
    thumbnails.map(({ url, ...size }) => [size.width, size.height, size.format, typeof url]),
    [
      [160, 90, 'webp', 'string'],
      [320, 180, 'webp', 'string'],
    ],
  );
  const [saved] = await rig.sql(`select * from media where id = $1`, [media!.id]);
  assert.equal(saved!.status, 'READY');
  assert.deepEqual(
    [saved!['url'], saved!['thumbnail_url'], saved!['thumbnails'], saved!['metadata']],
    [result.url, thumbnails[1]!.url, thumbnails, metadata],
  );
  assert.ok(saved!['processed_at']);
  await eventually(async () => assert.deepEqual(await readdir(rig.temp), [], 'no temporary file is left'));

  // Each manifest names only what had been stored before it.
  const playlists = namedBy(await text(hls!.master_url), hls!.master_url);
  const segments = await Promise.all(playlists.map(async (url) => namedBy(await text(url), url)));
  const puts = rig.puts();
  const order = puts.map(keyOf);
  const placeOf = (url: string) => order.indexOf(new URL(url).pathname.slice(1));
  const comesAfter = (url: string, named: string[]) => {
    assert.ok(named.length > 0 && named.every((each) => placeOf(each) >= 0 && placeOf(each) < placeOf(url)), url);
  };
  playlists.forEach((url, n) => comesAfter(url, segments[n]!));
  comesAfter(hls!.master_url, playlists);
  comesAfter(dash!.manifest_url, namedByManifest(await text(dash!.manifest_url), dash!.manifest_url));
  assert.equal(order.at(-1), dash!.key);
  const headers = Object.fromEntries(puts.map(({ url, headers: sent }) => [/[^/?]+(?=\?|$)/.exec(url)![0], sent]));
  const [immutable, brief] = ['public, max-age=31536000, immutable', 'public, max-age=300'];
  for (const [name, type, cache] of [
    ['00000.m4s', 'video/iso.segment', immutable],
    ['init_0.mp4', 'video/mp4', immutable],
    ['video.mp4', 'video/mp4', immutable],
    ['playlist.m3u8', 'application/vnd.apple.mpegurl', brief],
    ['master.m3u8', 'application/vnd.apple.mpegurl', brief],
    ['manifest.mpd', 'application/dash+xml', brief],
    ['storyboard.jpg', 'image/jpeg', immutable],
    ['storyboard.vtt', 'text/vtt', immutable],
  ] as const)
    assert.deepEqual([headers[name]!['content-type'], headers[name]!['cache-control']], [type, cache], name);

  // A storyboard: a tile for each cue.
  const { width: across, height: down } = await sharp(
    Buffer.from(await (await fetch(storyboard!.url)).arrayBuffer()),
  ).metadata();
  assert.deepEqual([across, down, storyboard!.count], [3 * 160, 90, 3]);
  assert.match(
    await text(storyboard!.vtt_url),
    /^WEBVTT\n\n00:00:00\.000 --> 00:00:02\.000\nstoryboard\.jpg#xywh=0,0,160,90\n/,
  );
});

for (const [name, key, watermark, code] of [
  ['the watermark is not in storage', 'blue.mp4', { key: 'no-logo.png' }, 'watermark_missing'],
  ['the watermark is no picture', 'blue.mp4', { key: 'blue.mp4' }, 'watermark_broken'],
  ['the original is not in storage', 'no.mp4', false, 'object_not_found'],
  ['the original is a file of this machine', '/etc/hostname', false, 'object_not_found'],
  ['the original is named by a path that climbs', '../../etc/hostname', false, 'invalid_storage_key'],
  ['the original is a picture', 'logo.webp', false, 'not_media'],
] as const)
  test(`when ${name}: ${code}, a dead letter at once, and nothing is stored`, async () => {
    const row = await rig.transcode(key, { watermark });
    assert.deepEqual([row.status, row['error_code'], row['attempt']], ['failed', code, 1], row['error']);
    assert.doesNotMatch(row['error'], new RegExp(rig.temp));
    assert.deepEqual(rig.puts(), []);
  });

test('options that are none are refused by name', async () => {
  const row = await rig.transcode('blue.mp4', { formats: ['gif'], watermark: { position: 'left' } });
  assert.deepEqual([row.status, row['error_code']], ['failed', 'invalid_payload']);
  assert.match(row['error'], /payload\.options\.formats/);
});
