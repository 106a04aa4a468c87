import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RetryableError } from '../../base/errors.ts';
import type { Ffmpeg } from '../ffmpeg/ffmpeg.ts';
import { fit, type Size } from '../ffmpeg/filters.ts';
import { keyFrameSeconds } from './ladder/ladder.ts';
import { sharp } from '../image/sharp.ts';

/**
 * Small pictures of a video at regular intervals, in one file, for the player's seek bar; and the WebVTT file that says
 * which is where.
 */
export type Storyboard = Grid & { sprite: string; vtt: string; width: number; height: number };

export type Grid = {
  /** Seconds from one picture to the next; the first is at 0. */
  interval: number;
  /** The number of pictures. */
  count: number;
  columns: number;
  rows: number;
  tile: Size;
};

const most = 100;
const box = { width: 160, height: 160 };
const columns = 10;

/** One picture at every key frame, or at every second, third, ... of them, so that there are at most a hundred. */
export function gridOf(shown: Size, seconds: number): Grid {
  const keyFrames = Math.max(1, Math.ceil((seconds - 0.05) / keyFrameSeconds));
  const every = Math.ceil(keyFrames / most);
  const count = Math.ceil(keyFrames / every);
  return {
    interval: every * keyFrameSeconds,
    count,
    columns: Math.min(count, columns),
    rows: Math.ceil(count / columns),
    tile: fit(shown, box),
  };
}

/** https://www.w3.org/TR/media-frags/#naming-space: which part of the sprite to show from one time to another. */
export function storyboardVtt(
  { interval, count, columns: across, tile }: Grid,
  seconds: number,
  sprite: string,
): string {
  const cues = Array.from({ length: count }, (_, n) => {
    const until = n === count - 1 ? Math.max(seconds, n * interval + 0.001) : (n + 1) * interval;
    const [x, y] = [(n % across) * tile.width, Math.floor(n / across) * tile.height];
    return `${clock(n * interval)} --> ${clock(until)}\n${sprite}#xywh=${x},${y},${tile.width},${tile.height}\n`;
  });
  return `WEBVTT\n\n${cues.join('\n')}`;
}

function clock(seconds: number): string {
  const ms = Math.round(seconds * 1_000);
  const digits = (value: number, many = 2) => String(Math.floor(value)).padStart(many, '0');
  const [hours, minutes, rest] = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1_000) % 60];
  return `${digits(hours)}:${digits(minutes)}:${digits(rest)}.${digits(ms % 1_000, 3)}`;
}

/**
 * @param rung a file of the ladder. The pictures are its key frames, and only these are decoded
 * @throws RetryableError `output_invalid`; what Ffmpeg throws; the signal's reason
 */
export async function makeStoryboard(
  rung: Size & { path: string },
  seconds: number,
  { ffmpeg, dir, signal }: { ffmpeg: Ffmpeg; dir: string; signal: AbortSignal },
): Promise<Storyboard> {
  const grid = gridOf(rung, seconds);
  const { tile, columns: across, rows, interval } = grid;
  const sprite = join(dir, 'storyboard.jpg');
  const filters = [
    `select=not(mod(n\\,${interval / keyFrameSeconds}))`,
    `scale=${tile.width}:${tile.height}`,
    `tile=${across}x${rows}`,
  ];
  const options = ['-map', '0:0', '-vf', filters.join(','), '-frames:v', '1', '-c:v', 'mjpeg', '-q:v', '4'];
  await ffmpeg.run(
    {
      inputs: [{ path: rung.path, options: ['-threads', '1', '-skip_frame', 'nokey'] }],
      outputs: [{ path: sprite, options: [...options, '-pix_fmt', 'yuvj420p', '-f', 'image2', '-update', '1'] }],
    },
    { dir, signal, duration: seconds },
  );
  const { width, height } = { width: across * tile.width, height: rows * tile.height };
  const made = await stat(sprite).then(
    () => sharp(sprite).metadata(),
    () => undefined,
  );
  if (made?.width !== width || made.height !== height)
    throw new RetryableError('output_invalid', 'The output of ffmpeg is no storyboard of the right size');
  const vtt = join(dir, 'storyboard.vtt');
  await writeFile(vtt, storyboardVtt(grid, seconds, 'storyboard.jpg'));
  return { ...grid, sprite, vtt, width, height };
}
