import { rm } from 'node:fs/promises';
import { damageOf } from '../../ffmpeg/damage.ts';
import type { Input } from '../../ffmpeg/ffmpeg.ts';
import { copyMemory } from '../../ffmpeg/memory.ts';
import { areSame, asTimes, eachPiece, moveBehind, readTimes, timesOf, type PiecesOptions } from '../pieces.ts';
import type { VideoSource } from '../../ffmpeg/source.ts';
import { rateOf } from './graph.ts';

/** Without this, time stamps are rounded to whole frames. */
const fine = ['-enc_time_base', '1:90000'];

/** How each piece is encoded, and the MP4 that all pieces together become. */
export type RungOfPieces = { path: string; options: string[] };

/**
 * Encodes rungs of a ladder in pieces, as encodeInPieces in video/pieces.ts does with a video. All rungs have one frame
 * rate, from 0 on and without gaps, and no frames out of order: so a piece is a number of frames, and its file contains
 * exactly these.
 * @param graph returns the filter graph of the rungs, for frames from the label that it is given
 * @param seconds between two key frames
 * @returns where it was cut; undefined if the result differs from that of one run: then one run must be made, which
 *   also judges damage
 */
export async function encodeRungsInPieces(
  path: string,
  { video, ...source }: VideoSource,
  rungs: RungOfPieces[],
  parts: { decoder: string[]; mark: Input | undefined; graph: (label: string) => string; keyFrameSeconds: number },
  options: PiecesOptions,
): Promise<number[] | undefined> {
  const { ffmpeg, memory, dir, signal, mostSeconds } = options;
  const seconds = video.duration ?? source.seconds;
  if (seconds === undefined || video.interlaced) return undefined;
  const { above, below } = rateOf(video);
  const frames = (time: number) => Math.ceil((time * above) / below - 1e-6);
  // A frame counts to the nearest moment of the rate, and that is where pieces are cut.
  const half = below / above / 2;
  const startOf = (time: number) => (time === 0 ? 0 : (frames(time) * below) / above - half);
  const seen: number[] = [];
  const cuts: number[] = [];
  const complaints: string[] = [];

  await eachPiece({ seconds, step: parts.keyFrameSeconds }, options, async ({ from, length }, run) => {
    const start = startOf(from);
    const times = readTimes();
    const ends = length === undefined ? [] : ['-frames:v', String(frames(from + length) - frames(from))];
    const shownSeconds = length === undefined ? mostSeconds - start : startOf(from + length) - start;
    // A piece begins half a frame before its first moment: rounded down, its frames count to the same moments as in one
    // run. They are not moved with setpts: in the ffmpeg of 2018 it does not move the end with them, and the last frame
    // is shown twice.
    const steady = `fps=${above}/${below}:start_time=0:round=${from === 0 ? 'near' : 'down'}`;
    const shown = `[0:${video.index}]split[seen][uncut];[seen]crop=2:2[times];[uncut]${steady}[cut]`;
    const task = {
      inputs: [{ path, options: [...parts.decoder, '-ss', start.toFixed(6)] }, ...(parts.mark ? [parts.mark] : [])],
      filter: `${shown};${parts.graph('cut')}`,
      outputs: [
        ...rungs.map((rung) => ({ path: `${rung.path}.piece`, options: [...rung.options, ...ends, '-f', 'h264'] })),
        { path: 'pipe:1', options: ['-map', '[times]', '-t', shownSeconds.toFixed(6), ...fine, ...asTimes] },
      ],
    };
    const { stderr } = await run((running) => ffmpeg.run(task, { dir, signal, ...running, onOutput: times.add }));
    complaints.push(stderr);
    cuts.push(from);
    seen.push(...times.all().map((time) => time + start));
    for (const rung of rungs) await moveBehind(`${rung.path}.piece`, `${rung.path}.h264`, signal);
  });

  const { faults, broken } = damageOf(complaints.join('\n'));
  const same = faults === 0 && broken === undefined && areSame(await timesOf(path, video.index, options), seen);
  const rate = ['-f', 'h264', '-framerate', `${above}/${below}`];
  for (const rung of rungs) {
    const input = { path: `${rung.path}.h264`, formats: 'h264', options: rate };
    const outputs = [{ path: rung.path, options: '-map 0:0 -c copy -fflags +bitexact -f mp4'.split(' ') }];
    if (same) await memory.run(copyMemory, signal, () => ffmpeg.run({ inputs: [input], outputs }, { dir, signal }));
    await rm(input.path);
  }
  return same ? cuts : undefined;
}
