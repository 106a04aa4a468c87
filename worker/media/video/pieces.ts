import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { damageOf } from '../ffmpeg/damage.ts';
import type { Ffmpeg, RunOptions } from '../ffmpeg/ffmpeg.ts';
import { copyMemory, soundMemory } from '../ffmpeg/memory.ts';
import type { AudioStream } from '../ffmpeg/probe.ts';
import { steadyFps } from '../ffmpeg/filters.ts';
import type { MemoryGate } from '../memory.ts';
import { createSoundMeter } from '../audio/sound-meter.ts';
import type { VideoSource } from '../ffmpeg/source.ts';

type Means = { ffmpeg: Ffmpeg; memory: MemoryGate; dir: string; signal: AbortSignal };
export type PiecesOptions = Means & {
  /** Memory for each piece. */
  bytes: number;
  /** The most that is read of a video that is longer than its header says. */
  mostSeconds: number;
  /** Called with the part that is done, 0 to 1. */
  onProgress?: (share: number) => void;
};

/**
 * Options of ffmpeg: before the input; for the picture, the sound, and the file. The encoder must keep frames in order
 * (bframes=0). Otherwise the first frames of a piece come before the last of the piece before it.
 */
export type Parts = { decoder: string[]; picture: string[]; sound: string[]; file: string[] };

/** How long a piece is to take: other jobs wait no longer than that for its memory. */
const pieceMs = 8_000;
/** The limit for a piece if other jobs use the cores. */
const mostPieceMs = 3_600_000;
const firstSeconds = 0.5;
/**
 * Time stamps are rounded, in Matroska to a millisecond. So a piece begins a little before its first frame. The encoder
 * rounds to whole frames.
 */
const beforeFrame = 0.002;
/** A shorter piece costs little more than decoding from the key frame before it. */
const leastSeconds = 0.5;

/**
 * Encodes a video in pieces of some seconds each, between which other jobs get its memory. This takes longer than one
 * run, because each piece is decoded from the key frame before it.
 * @returns ffmpeg's messages, and the seconds of sound that the decoder returned; undefined if the result differs from
 *   that of one run, for example because the file's index is wrong: then one run must be made, which also judges damage
 */
export async function encodeInPieces(
  path: string,
  to: string,
  source: VideoSource,
  parts: Parts,
  options: PiecesOptions,
): Promise<{ stderr: string; heard: number | undefined } | undefined> {
  const { video, audio } = source;
  const { ffmpeg, memory, dir, signal } = options;
  const seconds = video.duration ?? source.seconds;
  // Filters that change the rate, or look at several frames, would start anew with each piece.
  if (seconds === undefined || video.interlaced || steadyFps(video) !== undefined) return undefined;
  const picture = join(dir, 'picture.ts');
  const stderr = await encodePicture(path, picture, { index: video.index, seconds, fps: video.fps! }, parts, options);
  const { faults, broken } = damageOf(stderr);
  if (faults > 0 || broken !== undefined) return undefined;
  if (!areSame(await timesOf(path, video.index, options), await timesOf(picture, 0, options))) return undefined;

  const sound = audio && (await encodeSound(path, audio, parts, options));
  const files = [picture, ...(sound ? [sound.path] : [])];
  const maps = files.flatMap((_, n) => ['-map', `${n}:0`]);
  // Either stream may begin after 0, and must still do so.
  const copied = [...maps, '-c', 'copy', '-copyts', ...parts.file];
  const task = { inputs: files.map((file) => ({ path: file })), outputs: [{ path: to, options: copied }] };
  await memory.run(copyMemory, signal, () => ffmpeg.run(task, { dir, signal }));
  return { stderr: `${stderr}\n${sound?.stderr ?? ''}`, heard: sound?.heard };
}

/** Into one MPEG-TS file, with the time stamps that one run would write. Such files can be concatenated. */
async function encodePicture(
  path: string,
  to: string,
  { index, seconds, fps }: { index: number; seconds: number; fps: number },
  { decoder, picture }: Parts,
  options: PiecesOptions,
): Promise<string> {
  const { ffmpeg, dir, signal } = options;
  const piece = join(dir, 'piece.ts');
  const complaints: string[] = [];
  await eachPiece({ seconds, step: 1 / fps }, options, async ({ from, length = options.mostSeconds }, run) => {
    const ends = ['-t', length.toFixed(6), '-output_ts_offset', from.toFixed(6)];
    const written = [...picture, ...ends, ...'-muxdelay 0 -muxpreload 0 -f mpegts'.split(' ')];
    const start = Math.max(0, from - beforeFrame);
    const task = {
      inputs: [{ path, options: [...decoder, '-ss', start.toFixed(6)] }],
      outputs: [{ path: piece, options: ['-map', `0:${index}`, ...written] }],
    };
    const { stderr } = await run((running) => ffmpeg.run(task, { dir, signal, ...running }));
    complaints.push(stderr);
    await moveBehind(piece, to, signal);
  });
  return complaints.join('\n');
}

/** `length`: in seconds; undefined for the last piece, which goes on to the end of the file. */
export type Cut = { from: number; length: number | undefined };
type Running = Pick<RunOptions, 'duration' | 'onProgress' | 'limits'>;

/**
 * Cuts the given seconds into pieces whose lengths are multiples of `step`, and has each encoded in its turn: inside
 * `run`, which holds the memory, and measures how long it takes.
 */
export async function eachPiece(
  { seconds, step }: { seconds: number; step: number },
  { memory, bytes, signal, onProgress }: Pick<PiecesOptions, 'memory' | 'bytes' | 'signal' | 'onProgress'>,
  encode: (cut: Cut, run: <T>(work: (running: Running) => Promise<T>) => Promise<T>) => Promise<void>,
): Promise<void> {
  const cut = (some: number) => Math.max(1, Math.floor(some / step)) * step;
  let from = 0;
  for (let length = cut(firstSeconds); from < seconds;) {
    const isLast = from + length + leastSeconds >= seconds;
    const duration = isLast ? seconds - from : length;
    const report = (share: number) => onProgress?.((from + share * duration) / seconds);
    const running = { duration, onProgress: report, limits: { wallMs: mostPieceMs } };
    let tookMs = 1;
    await encode({ from, length: isLast ? undefined : length }, (work) =>
      memory.run({ bytes: [bytes], sort: 'piece' }, signal, async () => {
        const began = performance.now();
        return work(running).finally(() => (tookMs = performance.now() - began));
      }),
    );
    from = isLast ? seconds : Math.round((from + length) / step) * step;
    length = cut(Math.max(leastSeconds, Math.min((length * pieceMs) / tookMs, length * 4)));
  }
}

/** Appends a file to another, and removes it. */
export async function moveBehind(path: string, to: string, signal: AbortSignal): Promise<void> {
  await pipeline(createReadStream(path), createWriteStream(to, { flags: 'a', mode: 0o600 }), { signal });
  await rm(path);
}

async function encodeSound(path: string, audio: AudioStream, parts: Parts, options: PiecesOptions) {
  const { ffmpeg, memory, dir, signal, mostSeconds } = options;
  const to = join(dir, 'sound.mp4');
  const sound = ['-map', `0:${audio.index}`, ...parts.sound, ...parts.file];
  const meter = createSoundMeter(audio, mostSeconds);
  const task = { inputs: [{ path }], outputs: [{ path: to, options: sound }, meter.output] };
  const { stderr } = await memory.run(soundMemory, signal, () =>
    ffmpeg.run(task, { dir, signal, onOutput: meter.add }),
  );
  return { path: to, stderr, heard: meter.seconds() };
}

/** Whether the frames of a file, and those that were made of it, have the same times, give or take a millisecond. */
export const areSame = (wanted: number[], made: number[]): boolean =>
  wanted.length === made.length &&
  wanted.every((time, n) => Math.abs(time - wanted[0]! - made[n]! + made[0]!) < 0.0015);

/** The time of each frame of a stream in seconds, in order, read without decoding. */
export async function timesOf(path: string, index: number, { ffmpeg, memory, dir, signal }: Means): Promise<number[]> {
  const times = readTimes();
  const listed = ['-map', `0:${index}`, '-c', 'copy', '-copyts', ...asTimes];
  const task = { inputs: [{ path }], outputs: [{ path: 'pipe:1', options: listed }] };
  await memory.run(copyMemory, signal, () => ffmpeg.run(task, { dir, signal, onOutput: times.add }));
  return times.all();
}

/** A line for each frame. https://ffmpeg.org/ffmpeg-formats.html#framecrc */
export const asTimes = ['-f', 'framecrc'];

/** Reads such lines of one stream: stream, DTS, PTS, duration, size, checksum. */
export function readTimes() {
  const times: number[] = [];
  let rest = '';
  let tick = 0;
  const read = (line: string) => {
    const base = /^#tb 0: (\d+)\/(\d+)/.exec(line);
    if (base) tick = Number(base[1]) / Number(base[2]);
    else if (!line.startsWith('#')) times.push(Number(line.split(',')[2]) * tick);
  };
  return {
    add(chunk: Buffer): void {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop()!;
      lines.forEach(read);
    },
    all: () => times.toSorted((a, b) => a - b),
  };
}
