import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { turn } from '../support/footage.ts';
import {
  clip,
  createTranscodeRig,
  ffprobe,
  playByFfmpeg,
  text,
  tone,
  type TranscodeRig,
} from '../support/transcoding.ts';

// The streams that media.transcode makes of all kinds of video, as ffmpeg sees them at the CDN.

let rig: TranscodeRig;
before(async () => {
  rig = await createTranscodeRig();
});
after(() => rig.close());

test('picture and sound start together, and every rendition has its key frames at the same moments', async () => {
  await rig.put('sync.mp4', await clip({ size: '854x480', seconds: 5, rate: '30000/1001' }));
  const { hls, renditions } = await rig.made('sync.mp4', { formats: ['hls'], thumbnails: false });
  const packets = async (name: string) => {
    const url = hls!.master_url.replace('master', `${name}/playlist`);
    const lines = (await ffprobe('-show_entries', 'packet=pts_time,flags', '-of', 'csv=p=0', url)).trim().split('\n');
    return lines.map((line) => ({ time: Number(line.split(',')[0]), key: line.includes('K') }));
  };
  for (const { name } of renditions) {
    const keys = (await packets(name)).filter(({ key }) => key).map(({ time }) => time.toFixed(2));
    assert.deepEqual(keys, ['0.00', '2.00', '4.00'], name);
  }
  // The first packet of AAC is there to be decoded, and is not played: it comes before 0.
  assert.deepEqual(
    (await packets('audio')).slice(0, 2).map(({ time }) => Math.round(time * 48_000)),
    [-1024, 0],
  );
});

test('ffmpeg plays the whole of the master playlist, and of the manifest', async (t) => {
  await rig.put('play.mp4', await clip({ seconds: 5 }));
  const { hls, dash } = await rig.made('play.mp4', { formats: ['hls', 'dash'], thumbnails: false });
  const whole = { frames: 125, sound: true };
  assert.deepEqual(await playByFfmpeg(hls!.master_url), whole);
  const played = await playByFfmpeg(dash!.manifest_url);
  if (played) assert.deepEqual(played, whole);
  else t.diagnostic('this ffmpeg reads no DASH');
});

test('a portrait that a phone stored on its side stands upright in every format', async () => {
  const lying = await clip({ size: '640x360' });
  await rig.put('portrait.mp4', turn(lying, [0, 1, -1, 0]));
  const { mp4, renditions, metadata, thumbnails } = await rig.made('portrait.mp4', {
    thumbnails: [{ width: 100, height: 100 }],
  });
  assert.equal(metadata.rotation % 180, 90);
  assert.deepEqual(
    renditions.map(({ name, width, height }) => [name, width, height]),
    [['360p', 360, 640]],
  );
  assert.deepEqual([mp4!.width, mp4!.height, thumbnails[0]!.width, thumbnails[0]!.height], [360, 640, 56, 100]);
  const shown = await ffprobe(
    '-show_entries',
    'stream=width,height:stream_side_data=rotation',
    '-of',
    'csv=p=0',
    mp4!.url,
  );
  assert.equal(shown.split('\n')[0], '360,640');
});

test('a video without sound has no group of sound anywhere', async () => {
  await rig.put('silent.mp4', await clip({ sound: '' }));
  const { hls, dash, mp4, metadata } = await rig.made('silent.mp4', {
    formats: ['hls', 'dash', 'mp4'],
    thumbnails: false,
  });
  assert.doesNotMatch(await text(hls!.master_url), /AUDIO|mp4a/);
  assert.doesNotMatch(await text(dash!.manifest_url), /audio/);
  assert.equal(metadata.audio_codec, null);
  assert.equal((await ffprobe('-show_entries', 'stream=codec_type', '-of', 'csv=p=0', mp4!.url)).trim(), 'video');
  assert.match(await ffprobe('-show_entries', 'format=duration', '-of', 'csv=p=0', hls!.master_url), /^2\.0/);
});

test('six channels of sound become two, and a rate that varies becomes steady', async () => {
  const sound = `${tone(2)} -ac 6`;
  await rig.put('surround.mp4', await clip({ sound, options: '-vf select=not(eq(mod(n\\,7)\\,3)) -vsync vfr' }));
  const { mp4, metadata, renditions } = await rig.made('surround.mp4', { thumbnails: false });
  assert.equal(metadata.audio_channels, 6);
  const shown = await ffprobe(
    '-show_entries',
    'stream=channels,sample_rate,r_frame_rate,avg_frame_rate',
    '-of',
    'csv=p=0',
    mp4!.url,
  );
  const [picture, heard] = shown.trim().split('\n');
  const [rate, average] = picture!.split(',');
  assert.equal(rate, average);
  assert.ok(Math.abs(renditions[0]!.fps - Number(rate!.split('/')[0]) / Number(rate!.split('/')[1])) < 0.01);
  assert.match(heard!, /^48000,2,/);
});
