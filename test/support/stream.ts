import type { VideoStream } from '../../worker/media/ffmpeg/probe.ts';

const usual: VideoStream = {
  index: 0,
  codec: 'h264',
  profile: 'High',
  level: 40,
  pixelFormat: 'yuv420p',
  width: 1920,
  height: 1080,
  pixelAspect: 1,
  rotation: 0,
  shown: { width: 1920, height: 1080 },
  fps: 30,
  clockFps: 30,
  duration: 10,
  bitrate: 4e6,
  hdr: false,
  interlaced: false,
  alpha: false,
};

/** A stream of 1080p as cameras make it, with only what a test cares about changed. */
export function stream(changes: Partial<VideoStream> = {}): VideoStream {
  const { width = usual.width, height = usual.height } = changes;
  return { ...usual, shown: { width, height }, ...changes };
}
