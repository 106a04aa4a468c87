import type { Probe } from '../ffmpeg/probe.ts';
import type { VideoSource } from '../ffmpeg/source.ts';

/** What the original of a video is, for the job's result. */
export type VideoMetadata = {
  format: string;
  codec: string;
  width: number;
  height: number;
  /** The true length in seconds, whatever the header says. */
  duration: number;
  bytes: number;
  bitrate: number | null;
  fps: number | null;
  /** Degrees clockwise by which players turn it. */
  rotation: number;
  hdr: boolean;
  audio_codec: string | null;
  audio_channels: number | null;
  audio_sample_rate: number | null;
};

export function metadataOf(
  format: string,
  { bytes, bitrate }: Probe,
  { video, audio }: VideoSource,
  duration: number,
): VideoMetadata {
  return {
    format,
    codec: video.codec,
    width: Math.round(video.shown.width),
    height: Math.round(video.shown.height),
    duration: rounded(duration),
    bytes,
    bitrate: bitrate ?? null,
    fps: video.fps === undefined ? null : rounded(video.fps),
    rotation: video.rotation,
    hdr: video.hdr,
    audio_codec: audio?.codec ?? null,
    audio_channels: audio?.channels ?? null,
    audio_sample_rate: audio?.sampleRate ?? null,
  };
}

const rounded = (value: number) => Math.round(value * 1_000) / 1_000;
