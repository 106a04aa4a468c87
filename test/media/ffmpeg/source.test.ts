import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { AudioStream, Probe, VideoStream } from '../../../worker/media/ffmpeg/probe.ts';
import { canCopyPicture, canCopySound, chooseStreams } from '../../../worker/media/ffmpeg/source.ts';
import { stream } from '../../support/stream.ts';

const sound = (changes: Partial<AudioStream> = {}): AudioStream => ({
  index: 1,
  codec: 'aac',
  tag: 'mp4a',
  profile: 'LC',
  channels: 2,
  sampleRate: 48_000,
  bitrate: 128_000,
  duration: 10,
  isDefault: true,
  ...changes,
});
const file = (video: Partial<VideoStream> = {}, changes: Partial<Probe> = {}): Probe => ({
  format: 'mov,mp4,m4a,3gp,3g2,mj2',
  duration: 10,
  bitrate: 4.2e6,
  bytes: 5_250_000,
  streams: 2,
  video: [stream(video)],
  audio: [sound()],
  unknown: { video: [], audio: [] },
  ...changes,
});

suite('a picture is copied', () => {
  const settings = { videoBitrate: undefined, audioBitrate: 128_000, maxSeconds: 100 };
  const copied = (video: Partial<VideoStream> = {}, changes: Partial<Probe> = {}, videoBitrate?: number) => {
    const probe = file(video, changes);
    return canCopyPicture(probe, chooseStreams(probe), { ...settings, videoBitrate });
  };

  test('that every player takes', () => {
    assert.ok(copied());
    assert.ok(copied({ profile: 'Constrained Baseline', pixelFormat: 'yuvj420p', rotation: 90 }));
    assert.ok(copied({ bitrate: undefined }, { format: 'matroska,webm' }));
  });

  const others: [string, Partial<VideoStream>, Partial<Probe>?, number?][] = [
    ['in another codec', { codec: 'hevc' }],
    ['of a profile that phones do not decode', { profile: 'High 4:2:2' }],
    ['of no known profile', { profile: undefined }],
    ['of a high level', { level: 51 }],
    ['in 10 bits', { pixelFormat: 'yuv420p10le' }],
    ['that is too wide', { width: 2048, height: 1080 }],
    ['that is too high', { width: 1080, height: 2400 }],
    ['of pixels that are not square', { pixelAspect: 4 / 3 }],
    ['in HDR', { hdr: true }],
    ['that is interlaced', { interlaced: true }],
    ['of a variable frame rate', { fps: 24.3, clockFps: 90_000 }],
    ['of too many frames', { fps: 100, clockFps: 100 }],
    ['of too many bits', { bitrate: 17e6 }],
    ['of too many bits, by its container', { bitrate: undefined }, { bitrate: 17e6 }],
    ['of too many bits, by its size', { bitrate: undefined }, { bitrate: undefined, bytes: 50e6 }],
    ['of more bits than VIDEO_BITRATE', {}, {}, 2e6],
    ['out of a broadcast', {}, { format: 'mpegts' }],
  ];
  for (const [name, video, changes, videoBitrate] of others)
    test(`but none ${name}`, () => assert.equal(copied(video, changes, videoBitrate), false));
});

test('sound is copied that every player takes, and none is as good', () => {
  assert.ok(canCopySound(sound()));
  assert.ok(canCopySound(undefined));
  for (const other of [{ codec: 'opus' }, { profile: 'HE-AAC' }, { channels: 6 }, { sampleRate: 96_000 }])
    assert.equal(canCopySound(sound(other)), false, JSON.stringify(other));
});

suite('of a file', () => {
  test('the sound that is marked as default is taken, else the first', () => {
    const audio = [sound({ index: 1, isDefault: false }), sound({ index: 2 })];
    assert.equal(chooseStreams(file({}, { audio })).audio?.index, 2);
    assert.equal(chooseStreams(file({}, { audio: audio.slice(0, 1) })).audio?.index, 1);
    assert.equal(chooseStreams(file({}, { audio: [] })).audio, undefined);
  });

  test('the longer of its streams says how long it is, and its container where they do not', () => {
    assert.equal(chooseStreams(file({ duration: 9 }, { duration: 99 })).seconds, 10);
    assert.equal(chooseStreams(file({ duration: undefined }, { duration: 99 })).seconds, 99);
  });

  test('the container is no measure of its streams where it has others too', () => {
    const own = (streams: number, duration?: number) =>
      chooseStreams(file({ duration }, { duration: 99, streams })).ownSeconds;
    assert.deepEqual([own(2), own(3), own(3, 9)], [99, undefined, 10]);
  });

  const refused: [string, Probe][] = [
    ['no_video_stream', file({}, { video: [] })],
    ['video_too_large', file({ width: 8194, height: 16 })],
    ['video_too_large', file({ width: 6200, height: 6200 })],
    ['unsupported_codec', file({}, { video: [], unknown: { video: ['dvav'], audio: [] } })],
    ['too_many_streams', file({}, { audio: Array.from({ length: 40 }, () => sound()) })],
  ];
  for (const [code, probe] of refused)
    test(`${code} is a reason to refuse it`, () =>
      assert.throws(() => chooseStreams(probe), { name: 'PermanentError', code }));
});
