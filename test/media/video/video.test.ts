import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import sharp from 'sharp';
import { aac, h264, openFootage, picture, tone, type Footage } from '../../support/footage.ts';
import { tracesOfPlace } from '../../support/place.ts';
import { near, plain, processed } from '../../support/processed.ts';

// What processVideo copies, what it says of it, and which sound it takes.

let clips: Footage;
before(async () => {
  clips = await openFootage();
});
after(() => clips.close());

/** The messages between the parts of a picture (SEI) are not copied. */
const withoutMessages = '-bsf:v filter_units=remove_types=6';

test('a video that plays everywhere is copied: its packets are the same, its index is in front', async () => {
  const path = await plain(clips);
  const { made, probe, video, audio } = await processed(clips, path);
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
  const written =
    `${place} -metadata creation_time=2024-05-06T07:08:09Z ` +
    '-metadata com.apple.quicktime.location.ISO6709=+48.1374+011.5755/';
  const of = (codecs: string) =>
    clips.make('gps.mov', `${picture('320x180', 1)} ${tone(1)} ${codecs} ${written} -movflags use_metadata_tags`);
  for (const codecs of [`${h264} ${aac}`, `${h264} -c:a pcm_s16le`, `-c:v mpeg4 ${aac}`]) {
    const path = await of(codecs);
    assert.notDeepEqual(await tracesOfPlace(path), []);
    const { made } = await processed(clips, path);
    assert.deepEqual(await tracesOfPlace(made.path), []);
    assert.equal((await sharp(made.poster.data).metadata()).exif, undefined);
  }
});

test('only the sound is encoded where only the sound is wrong', async () => {
  const path = await clips.make(
    'sound.mp4',
    `${picture('320x180', 2)} -f lavfi -i anoisesrc=d=2:a=0.2 ${h264} -c:a ac3 -ac 6 -ar 48000`,
  );
  const { made, audio } = await processed(clips, path);
  assert.deepEqual([made.mode, audio?.codec, audio?.channels], ['copy_picture', 'aac', 2]);
  assert.equal(made.metadata.audio_channels, 6);
  const frames = (of: string) => clips.read(of, `-map 0:v -c copy ${withoutMessages} -f md5`);
  assert.deepEqual(await frames(made.path), await frames(path));
});

test('of several sounds the one that its maker put first is kept, of none there is none', async () => {
  const path = await clips.make(
    'two.mp4',
    `${picture('320x180', 1)} ${tone(1, 300)} ${tone(1, 3000)} -map 0 -map 1 -map 2 ${h264} ${aac} ` +
      '-ac:a:1 2 -disposition:a:0 0 -disposition:a:1 default',
  );
  const { made, probe } = await processed(clips, path);
  assert.deepEqual([made.metadata.audio_channels, probe.audio.length, probe.audio[0]!.channels], [2, 1, 2]);
  const silent = await clips.make('silent.mp4', `${picture('320x180', 1)} ${h264}`);
  const mute = await processed(clips, silent);
  assert.deepEqual([mute.made.mode, mute.audio, mute.made.metadata.audio_codec], ['copy', undefined, null]);
});

test('a sound that cannot be decoded is left out', async () => {
  const path = await clips.change(await plain(clips), (bytes) => {
    for (const name of ['mp4a', 'esds']) bytes.write('zzzz', bytes.indexOf(name));
    return bytes;
  });
  const { audio, made } = await processed(clips, path);
  assert.deepEqual([audio, made.metadata.audio_codec], [undefined, null]);
});

test('progress goes up to the end', async () => {
  const shares: number[] = [];
  await processed(clips, await clips.make('a.mp4', `${picture('640x360', 3)} -c:v mpeg4`), {}, shares);
  assert.ok(shares.length > 0);
  assert.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  );
  assert.ok(shares.at(-1)! > 0.9 && shares.at(-1)! <= 1);
});
