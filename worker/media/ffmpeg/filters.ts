import type { Capabilities } from './capabilities.ts';
import type { VideoStream } from './probe.ts';

export type Size = { width: number; height: number };

/**
 * The size, in even numbers of pixels, that a picture has inside a box. Never enlarged, unless it is below 2 pixels.
 */
export function fit(shown: Size, box: Size): Size {
  const share = Math.min(1, box.width / shown.width, box.height / shown.height);
  const side = (length: number, room: number) =>
    Math.max(2, Math.min(nearestEven(length * share), evenBelow(Math.min(length, room) + rounding)));
  return { width: side(shown.width, box.width), height: side(shown.height, box.height) };
}

const nearestEven = (pixels: number) => Math.round(pixels / 2) * 2;
const evenBelow = (pixels: number) => Math.floor(pixels / 2) * 2;
/** Pixels that are not square make widths such as 853.99. */
const rounding = 0.02;

/** The highest frame rate that we write. */
const mostFps = 60;

/**
 * Filters that prepare a stream to be watched at `size`: square pixels, deinterlaced, a steady frame rate, SDR in 8-bit
 * 4:2:0. ffmpeg has turned it upright before.
 */
export function pictureFilters(video: VideoStream, size: Size, capabilities: Capabilities): string {
  const fps = steadyFps(video);
  return filtersOf(video, size, capabilities, fps === undefined ? [] : [`fps=${fps}`]);
}

/** The same for one frame. A steady rate would lose the only frame of a video that does not say how long it lasts. */
export const frameFilters = (video: VideoStream, size: Size, capabilities: Capabilities): string =>
  filtersOf(video, size, capabilities, []);

function filtersOf(video: VideoStream, { width, height }: Size, { toneMapping }: Capabilities, steady: string[]) {
  const filters = video.interlaced ? ['yadif=deint=interlaced', ...steady] : steady;
  filters.push(`scale=${width}:${height}`, 'setsar=1');
  if (video.hdr && toneMapping)
    // Scaled first, because tone mapping costs time per pixel.
    filters.push(
      'zscale=t=linear:npl=100',
      'format=gbrpf32le',
      'zscale=p=bt709',
      'tonemap=hable:desat=0',
      'zscale=t=bt709:m=bt709:r=tv',
    );
  filters.push('format=yuv420p');
  return filters.join(',');
}

/** The options of an output that is the first frame, as a PNG. */
export const firstFrame = (filters: string) => [
  '-vf',
  filters,
  ...'-frames:v 1 -c:v png -f image2 -update 1'.split(' '),
];

/** The frame rate to use; undefined if it is steady and valid already. */
export function steadyFps({ fps, clockFps }: VideoStream): number | undefined {
  if (fps === undefined) return 30;
  if (clockFps !== undefined && clockFps <= mostFps) {
    if (Math.abs(clockFps - fps) / fps < 0.01) return undefined;
    // A phone's camera that drops a frame now and then keeps its clock: a steady rate would drop or double more frames.
    if (clockFps / fps < 1.25) return Math.round(clockFps * 1_000) / 1_000;
  }
  return Math.min(Math.max(Math.round(fps), 1), mostFps);
}
