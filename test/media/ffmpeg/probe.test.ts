import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readProbe } from '../../../worker/media/ffmpeg/probe.ts';
import { createPacketCounter } from '../../../worker/media/ffmpeg/packets.ts';

/** What ffprobe says of a file of a picture and a sound, changed. */
const probed = (video: object = {}, audio: object = {}, others: object[] = []) =>
  readProbe(
    JSON.stringify({
      format: { format_name: 'mov', duration: '3', size: '9' },
      streams: [
        { index: 0, codec_type: 'video', codec_name: 'h264', width: 320, height: 240, ...video },
        { index: 1, codec_type: 'audio', codec_name: 'aac', channels: 2, sample_rate: '48000', ...audio },
        ...others,
      ],
    }),
  );

suite('how a picture is turned', () => {
  const matrix = (rotation: number) => ({ side_data_list: [{ rotation }] });
  // The last is what ffprobe makes of a matrix of zeros.
  for (const [said, turned] of [
    [0, 0],
    [-90, 90],
    [90, 270],
    [-180, 180],
    [180, 180],
    [-89.6, 90],
    [45, 0],
    [-45, 0],
    [-30, 0],
    [-9_223_372_036_854_776_000, 0],
  ] as const)
    test(`by ${said} against the clock: ${turned} with it`, () => {
      const [video] = probed(matrix(said)).video;
      assert.equal(video!.rotation, turned);
      assert.equal(video!.shown.width, turned % 180 === 0 ? 320 : 240);
    });

  test('the old tag counts with the clock', () => {
    for (const rotate of ['90', '-270']) assert.equal(probed({ tags: { rotate } }).video[0]!.rotation, 90);
  });
});

test('a sample rate that nothing has is none that can be decoded', () => {
  assert.equal(probed({}, { sample_rate: '192000' }).audio.length, 1);
  assert.deepEqual(probed({}, { sample_rate: '2147483647' }).audio, []);
});

test('subtitles and data are streams; a cover and an attached file are none', () => {
  const cover = { index: 2, codec_type: 'video', codec_name: 'mjpeg', width: 9, height: 9 };
  assert.equal(probed({}, {}, [{ ...cover, disposition: { attached_pic: 1 } }]).streams, 2);
  assert.equal(probed({}, {}, [{ index: 2, codec_type: 'attachment' }]).streams, 2);
  assert.equal(probed({}, {}, [{ index: 2, codec_type: 'subtitle' }]).streams, 3);
});

test('packets are counted, but not those that an edit list leaves out, nor durations of days', () => {
  const counter = createPacketCounter();
  counter.add(Buffer.from('pts_time=-0.5|duration_time=0.5|flags=KD\npts_time=0.0|duration_time=0.5|flags=K_\npts_ti'));
  counter.add(Buffer.from('me=0.5|duration_time=0.5|flags=K_\npts_time=1.0|duration_time=536870.75|flags=K_\n'));
  assert.deepEqual(counter.packets(), { count: 3, seconds: 1.5, held: 1, rate: 2 });
});
