import { PermanentError } from '../../base/errors.ts';
import type { Ffmpeg } from './ffmpeg.ts';
import type { AudioStream, Probe, VideoStream } from './probe.ts';
import { steadyFps } from './filters.ts';

/** What is used of a file with video. */
export type VideoSource = {
  video: VideoStream;
  audio: AudioStream | undefined;
  /** The duration of its streams, otherwise of its container; it may be wrong. */
  seconds: number | undefined;
  /** The same, but only if it is of these streams: subtitles, or a second language, may be longer. */
  ownSeconds: number | undefined;
};

export type VideoSettings = {
  /** The highest bit rate in bits per second; undefined: by the size of the picture. */
  videoBitrate: number | undefined;
  audioBitrate: number;
  maxSeconds: number;
};

/** The longer side of what we make. */
export const longSide = 1920;

/** Phones record slow motion at 240 frames per second. */
const most = { side: 8192, pixels: 36e6, fps: 300, streams: 32 };

/**
 * Chooses the first picture, and the sound that its maker put first.
 * @throws PermanentError `no_video_stream`, `unsupported_codec`, `too_many_streams`, `video_too_large`
 */
export function chooseStreams(probe: Probe): VideoSource {
  const [video] = probe.video;
  if (!video) throw noneOf('video', probe);
  const streams = probe.video.length + probe.audio.length;
  if (streams > most.streams)
    throw new PermanentError(
      'too_many_streams',
      `The file has ${streams} streams: at most ${most.streams} are accepted`,
    );
  const { width, height } = video;
  if (Math.max(width, height) > most.side || width * height > most.pixels)
    throw new PermanentError(
      'video_too_large',
      `The video has ${width} x ${height} pixels: ` +
        `at most ${most.side} on a side and ${most.pixels / 1e6} million in all are accepted`,
    );
  const audio = chooseAudio(probe);
  const own = secondsOf(video, audio);
  const alone = probe.streams === (audio ? 2 : 1);
  return { video, audio, seconds: own ?? probe.duration, ownSeconds: own ?? (alone ? probe.duration : undefined) };
}

/**
 * The same for a file that is to be decoded to its end. Numbers that are absent or absurd are measured: a header may
 * claim days, and the frame rate of Matroska is ffmpeg's guess.
 * @throws PermanentError as chooseStreams does, `video_too_long`, `frame_rate_too_high`; what Ffmpeg throws
 */
export async function findSource(
  path: string,
  probe: Probe,
  { ffmpeg, dir, signal, settings: { maxSeconds } }: Means,
): Promise<VideoSource> {
  const source = chooseStreams(probe);
  const { video, audio, seconds } = source;
  const isFast = (fps = 0) => fps > most.fps;
  if (seconds !== undefined && seconds <= maxSeconds && !isFast(video.fps)) return source;

  const counted = await ffmpeg.packets(path, { index: video.index, maxSeconds, dir, signal });
  if (counted.count === 0) throw noneOf('video', probe);
  if (counted.seconds > maxSeconds)
    throw new PermanentError('video_too_long', `The video lasts more than ${maxSeconds} s (VIDEO_MAX_SECONDS)`);
  const fps = video.fps === undefined || isFast(video.fps) ? counted.rate : video.fps;
  if (isFast(fps))
    throw new PermanentError(
      'frame_rate_too_high',
      `The video has ${Math.round(fps!)} frames per second: at most ${most.fps} are accepted`,
    );
  // A duration beyond any limit is wrong for the sound, too.
  const sound = audio && { ...audio, duration: (audio.duration ?? 0) > maxSeconds ? undefined : audio.duration };
  const own = Math.max(counted.seconds, sound?.duration ?? 0);
  return { video: { ...video, fps, duration: counted.seconds }, audio: sound, seconds: own, ownSeconds: own };
}

type Means = { ffmpeg: Ffmpeg; dir: string; signal: AbortSignal; settings: Pick<VideoSettings, 'maxSeconds'> };

/** Why there is no such stream to decode. */
export function noneOf(kind: 'video' | 'audio', probe?: Probe): PermanentError {
  const what = { video: 'video', audio: 'sound' }[kind];
  const codec = probe?.unknown[kind][0];
  return codec === undefined
    ? new PermanentError(`no_${kind}_stream`, `The file has no ${what} that can be decoded`)
    : new PermanentError('unsupported_codec', `The ${what} is in a codec that this ffmpeg does not know (${codec})`);
}

export const chooseAudio = ({ audio }: Probe): AudioStream | undefined =>
  audio.find(({ isDefault }) => isDefault) ?? audio[0];

function secondsOf(video: VideoStream, audio: AudioStream | undefined): number | undefined {
  if (video.duration === undefined || (audio && audio.duration === undefined)) return undefined;
  return Math.max(video.duration, audio?.duration ?? 0);
}

/** Containers whose time stamps and parameter sets survive being moved to another file. */
const movable = /^(mov|matroska)/;
const profiles = ['Constrained Baseline', 'Main', 'High'];
const highestLevel = 42;
const highestBitrate = 10e6;

/**
 * Whether every player takes the picture as it is, so that it need not be encoded again. Much like Mux's "standard
 * input". https://docs.mux.com/guides/minimize-processing-time
 */
export function canCopyPicture(
  probe: Probe,
  { video, seconds }: VideoSource,
  { videoBitrate }: VideoSettings,
): boolean {
  const bitrate = video.bitrate ?? probe.bitrate ?? (seconds ? (probe.bytes * 8) / seconds : Infinity);
  return (
    movable.test(probe.format) &&
    video.codec === 'h264' &&
    profiles.includes(video.profile ?? '') &&
    (video.level ?? Infinity) <= highestLevel &&
    ['yuv420p', 'yuvj420p'].includes(video.pixelFormat ?? '') &&
    Math.max(video.width, video.height) <= longSide &&
    Math.abs(video.pixelAspect - 1) < 0.01 &&
    !video.hdr &&
    !video.interlaced &&
    steadyFps(video) === undefined &&
    bitrate <= Math.min(highestBitrate, videoBitrate ?? Infinity)
  );
}

export function canCopySound(audio: AudioStream | undefined): boolean {
  if (!audio) return true;
  return audio.codec === 'aac' && audio.profile === 'LC' && audio.channels <= 2 && audio.sampleRate <= 48_000;
}
