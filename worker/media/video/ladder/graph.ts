import type { Capabilities } from '../../ffmpeg/capabilities.ts';
import type { VideoStream } from '../../ffmpeg/probe.ts';
import { pictureFilters, steadyFps } from '../../ffmpeg/filters.ts';
import type { Place } from '../position.ts';
import type { Rungs } from './plan.ts';

/** As a fraction, because the rates of television are 1000/1001 of whole numbers. */
export type Rate = { above: number; below: number };

/**
 * The filter graph that makes the rungs of one video: it prepares the picture once, lays the watermark over it once,
 * and scales each rung from the one above it. `from` is the label of the picture. The outputs are `[r0]`, `[r1]`, ...;
 * the watermark, if there is one, is input 1.
 */
export function ladderGraph(
  video: VideoStream,
  rungs: Rungs,
  {
    capabilities,
    mark,
    from = `0:${video.index}`,
  }: { capabilities: Capabilities; mark: Place | undefined; from?: string },
): string {
  const { above, below } = rateOf(video);
  const steady = `fps=${above}/${below}:start_time=0`;
  const chains = [`[${from}]${pictureFilters(video, rungs[0], capabilities)},${steady}[${mark ? 'plain' : 'p0'}]`];
  if (mark) chains.push(`[plain][1:0]overlay=${mark.x}:${mark.y}[p0]`);
  for (const [n, { width, height }] of rungs.entries()) {
    const size = n === 0 ? '' : `scale=${width}:${height},setsar=1,`;
    chains.push(n < rungs.length - 1 ? `[p${n}]${size}split[r${n}][p${n + 1}]` : `[p${n}]${size}null[r${n}]`);
  }
  return chains.join(';');
}

/**
 * The frame rate of the rungs. All rungs have the same one, from 0 on and without gaps. So their key frames fall on the
 * same moments, and picture and sound stay together if a player knows where a stream begins.
 */
export function rateOf(video: VideoStream): Rate {
  const fps = steadyFps(video) ?? video.fps!;
  const whole = Math.round(fps);
  if (Math.abs(fps - whole) < 0.001) return { above: whole, below: 1 };
  const ntsc = Math.round(fps * 1.001);
  if (Math.abs(ntsc / 1.001 - fps) < 0.001) return { above: ntsc * 1000, below: 1001 };
  return { above: Math.round(fps * 1000), below: 1000 };
}
