import { availableParallelism } from 'node:os';
import { PermanentError } from '../../base/errors.ts';
import type { VideoStream } from './probe.ts';
import { fit, type Size } from './filters.ts';
import type { MemoryGate, Sort } from '../memory.ts';

/**
 * How ffmpeg encodes: as fast as it can; or lean, in little memory, which takes some 10 % more time and bytes; or lean
 * and in pieces, with frames in order.
 */
export type Profile = 'fast' | 'lean' | 'pieces';

/** x264's preset. https://x264.nl/ */
export type Preset = keyof typeof heldByPreset;

/** A way to encode, and the bytes of memory that it needs. */
export type EncodePlan = { profile: Profile; size: Size; bytes: number };

/** More threads than this need memory for little gain. */
export const threads = Math.min(availableParallelism(), 4);

/** ffmpeg's code and tables, the sound, buffers: 10 MB more in ffmpeg 7 than in 5. */
const base = 65e6;

/**
 * For an ffmpeg that encodes no pictures: sound alone, or a copy that checks the key frames of a video of the sizes
 * that are copied.
 */
export const soundMemory = 75e6;
export const copyMemory = 95e6;

/** Options of the profile; those of the decoder go before the input, the others before the output. */
export const profileOptions: Record<Profile, { decoder: string[]; encoder: string[] }> = {
  fast: { decoder: ['-threads', String(threads)], encoder: ['-threads', String(threads)] },
  lean: { decoder: ['-threads', '1'], encoder: leanEncoder(1) },
  pieces: { decoder: ['-threads', '1'], encoder: leanEncoder(0) },
};

function leanEncoder(bframes: number): string[] {
  const params = `sliced-threads=1:rc-lookahead=5:sync-lookahead=0:bframes=${bframes}`;
  return ['-threads', String(threads), '-x264-params', params];
}

/**
 * The pixels, decoded and encoded, of a short encode: some ten seconds of 1080p, for which two cores need about ten
 * seconds.
 */
const shortPixels = 1.3e9;

/**
 * Whether an encode in these sizes takes so long that other jobs must not wait for its end. A file that does not say
 * how long it is may be long.
 */
export function isLong({ video, seconds = Infinity }: Clip, sizes: Size[]): boolean {
  const pixelsOfFrame = video.width * video.height + sizes.reduce((sum, size) => sum + pixels(size), 0);
  return pixelsOfFrame * (video.fps ?? 30) * seconds > shortPixels;
}
type Clip = { video: VideoStream; seconds: number | undefined };

/**
 * Ways to make an encode of one size, the quickest first, any of which will do; and the sort of work for the memory
 * gate.
 */
export type EncodePlans = { plans: [EncodePlan, ...EncodePlan[]]; sort: Sort };

/**
 * Chooses how to encode a video within the budget: at the largest size if that fits in little memory, otherwise at 1280
 * pixels. A short encode takes the memory that is free. A long encode must fit into its share; one that does not is
 * done in pieces.
 * @throws PermanentError `video_too_large` if nothing fits
 */
export function planEncode(
  source: Clip,
  longSide: number,
  {
    preset,
    toneMapping,
    memory,
  }: { preset: Preset; toneMapping: boolean; memory: Pick<MemoryGate, 'bytes' | 'longBytes'> },
): EncodePlans {
  const { video } = source;
  const at = (side: number) => fit(video.shown, { width: side, height: side });
  const plan = (profile: Profile, size: Size) => {
    return { profile, size, bytes: encodeMemory(video, [size], { profile, preset, toneMapping }) };
  };
  const full = plan('lean', at(longSide));
  const lean = full.bytes <= memory.bytes ? full : plan('lean', at(Math.min(longSide, 1280)));
  if (lean.bytes > memory.bytes) refuse(video, lean.bytes, memory.bytes);
  const fast = plan('fast', lean.size);
  const within = (budget: number): EncodePlans['plans'] => (fast.bytes <= budget ? [fast, lean] : [lean]);
  if (!isLong(source, [lean.size])) return { plans: within(memory.bytes), sort: 'short' };
  // It keeps its memory for long, so it waits for the best plan.
  if (lean.bytes <= memory.longBytes) return { plans: [within(memory.longBytes)[0]], sort: 'long' };
  return { plans: [plan('pieces', lean.size)], sort: 'piece' };
}

/** @throws PermanentError `video_too_large` if there can never be so much */
export function checkBudget(video: VideoStream, bytes: number, budget: number): void {
  if (bytes > budget) refuse(video, bytes, budget);
}

function refuse({ width, height, codec }: VideoStream, bytes: number, budget: number): never {
  throw new PermanentError(
    'video_too_large',
    `The video has ${width} x ${height} pixels in ${codec} and needs about ${Math.ceil(bytes / 1e6)} MB to decode: ` +
      `MEDIA_MEMORY_MB is ${Math.floor(budget / 1e6)}`,
  );
}

/**
 * The peak memory of an ffmpeg that decodes a video and encodes it with x264 in some sizes. Measured with ffmpeg 5.1 on
 * 2 threads; the test measures it again. In MB:
 *
 * | video, size, profile                   | estimate | measured |
 * |----------------------------------------|----------|----------|
 * | 720p H.264, 720p, fast / lean          | 193/136  | 176/118  |
 * | 1080p H.264, 1080p, fast / lean        | 372/238  | 314/188  |
 * | 4K H.264, 1080p, fast / lean           | 426/274  | 405/260  |
 * | 4K H.264, 720p, lean                   | 215      | 206      |
 * | 4K HEVC of 10 bits, 1080p, fast / lean | 585/407  | 501/357  |
 * | the same in HDR, 1080p / 720p, lean    | 498/389  | 445/340  |
 * | 8K HEVC, 1080p, fast / lean            | 871/644  | 795/625  |
 */
export function encodeMemory(
  video: VideoStream,
  sizes: Size[],
  { profile, preset, toneMapping }: { profile: Profile; preset: Preset; toneMapping: boolean },
): number {
  const decoderThreads = profile === 'fast' ? threads : 1;
  const encoders = sizes.reduce((sum, size) => sum + pixels(size), 0) * 1.5 * heldFrames(profile, preset);
  return Math.ceil(base + decoding(video, decoderThreads) + filtering(video, sizes, toneMapping) + encoders);
}

/** For an ffmpeg that takes one frame on one thread. */
export function frameMemory(video: VideoStream, size: Size, toneMapping: boolean): number {
  return Math.ceil(base + decoding(video, 1) + filtering(video, [size], toneMapping));
}

/** Frames in their coded size: those that other frames refer to, and those in flight. */
function decoding(video: VideoStream, decoderThreads: number): number {
  return bytesOf(video) * (references(video) * 1.25 + 2 + (decoderThreads - 1) * 2);
}

/**
 * The number of frames that a decoder must keep, by the highest levels in use: the smaller the picture, the more.
 * H.264, table A-1 (184,320 macroblocks at level 5.1); H.265, A.4.2; VP9 and AV1 have eight slots.
 */
function references({ codec, width, height }: VideoStream): number {
  if (codec === 'h264') return Math.min(16, Math.max(4, Math.floor(47e6 / (width * height))));
  if (codec === 'hevc') return Math.min(16, Math.max(6, Math.floor(47e6 / (width * height))));
  return 8;
}

function bytesOf({ width, height, pixelFormat = '' }: VideoStream): number {
  const samples = /444|gbr|rgb/.test(pixelFormat) ? 3 : /422/.test(pixelFormat) ? 2 : 1.5;
  return width * height * samples * (/1[0-6](le|be)/.test(pixelFormat) ? 2 : 1);
}

/**
 * Frames that filters hold: rotation and deinterlacing in the coded size, tone mapping in floating point in the output
 * size.
 */
function filtering(video: VideoStream, sizes: Size[], toneMapping: boolean): number {
  const held = (video.rotation === 0 ? 0 : 1) + (video.interlaced ? 3 : 0);
  const mapped = video.hdr && toneMapping ? Math.max(0, ...sizes.map(pixels)) * 44 : 0;
  return bytesOf(video) * held + mapped;
}

/** Frames that x264 holds on two threads: slower presets look ahead further, and refer to more frames. */
const heldByPreset = {
  ultrafast: { fast: 24, lean: 18 },
  superfast: { fast: 58, lean: 26 },
  veryfast: { fast: 77, lean: 34 },
  faster: { fast: 102, lean: 35 },
  fast: { fast: 126, lean: 36 },
  medium: { fast: 152, lean: 41 },
  slow: { fast: 180, lean: 49 },
  slower: { fast: 222, lean: 78 },
  veryslow: { fast: 312, lean: 110 },
};

const heldFrames = (profile: Profile, preset: Preset) =>
  profile === 'fast' ? heldByPreset[preset].fast + Math.max(0, threads - 2) * 10 : heldByPreset[preset].lean;

const pixels = ({ width, height }: Size) => width * height;
