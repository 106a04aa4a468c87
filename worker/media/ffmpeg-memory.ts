import { availableParallelism } from 'node:os';
import { PermanentError } from '../base/errors.ts';
import type { VideoStream } from './ffmpeg/probe.ts';
import { fit, type Size } from './filters.ts';

/** How ffmpeg encodes: as fast as it can, or in little memory, which takes some 10 % more time and bytes. */
export type Profile = 'fast' | 'lean';

/** x264's own word for how hard it tries. https://x264.nl/ */
export type Preset = keyof typeof heldByPreset;

/** What one encode is to be, and the bytes of memory it needs. */
export type EncodePlan = { profile: Profile; size: Size; bytes: number };

/** More than this is memory for little gain. */
export const threads = Math.min(availableParallelism(), 4);

/** ffmpeg's code and tables, the sound, buffers. */
const base = 55e6;

/** Of an ffmpeg that decodes no pictures: sound alone, or a copy that looks at the key frames of a video of the sizes that are copied. */
export const soundMemory = 75e6;
export const copyMemory = 95e6;

/** Options of the profile; those of the decoder go before the input, the others before the output. */
export const profileOptions: Record<Profile, { decoder: string[]; encoder: string[] }> = {
  fast: { decoder: ['-threads', String(threads)], encoder: ['-threads', String(threads)] },
  lean: {
    decoder: ['-threads', '1'],
    encoder: `-threads ${threads} -x264-params sliced-threads=1:rc-lookahead=5:sync-lookahead=0:bframes=1`.split(' '),
  },
};

/**
 * Chooses how to encode a video within the budget: fast at the largest size if that fits, else lean, else lean at 1280 pixels.
 * @throws PermanentError `video_too_large` when nothing fits
 */
export function planEncode(
  video: VideoStream,
  longSide: number,
  { preset, toneMapping, budget }: { preset: Preset; toneMapping: boolean; budget: number },
): EncodePlan {
  const smaller = Math.min(longSide, 1280);
  const choices: [Profile, number][] = [
    ['fast', longSide],
    ['lean', longSide],
    ['lean', smaller],
  ];
  const plans = choices.map(([profile, side]) => {
    const size = fit(video.shown, { width: side, height: side });
    return { profile, size, bytes: encodeMemory(video, [size], { profile, preset, toneMapping }) };
  });
  return plans.find(({ bytes }) => bytes <= budget) ?? refuse(video, plans.at(-1)!.bytes, budget);
}

/** @throws PermanentError `video_too_large` when so much can never be had */
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
 * The most that an ffmpeg holds that decodes a video and encodes it by x264 in some sizes. Measured with ffmpeg 5.1 on 2 threads; the test
 * measures it again. MB:
 *
 * | video, size, profile                   | estimate | measured |
 * |----------------------------------------|----------|----------|
 * | 720p H.264, 720p, fast / lean          | 183/126  | 176/118  |
 * | 1080p H.264, 1080p, fast / lean        | 362/228  | 314/188  |
 * | 4K H.264, 1080p, fast / lean           | 416/264  | 405/260  |
 * | 4K H.264, 720p, lean                   | 205      | 206      |
 * | 4K HEVC of 10 bits, 1080p, fast / lean | 575/397  | 501/357  |
 * | the same in HDR, 1080p / 720p, lean    | 488/379  | 445/340  |
 * | 8K HEVC, 1080p, fast / lean            | 861/634  | 795/625  |
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

/** Of an ffmpeg that takes one frame on one thread. */
export function frameMemory(video: VideoStream, size: Size, toneMapping: boolean): number {
  return Math.ceil(base + decoding(video, 1) + filtering(video, [size], toneMapping));
}

/** Frames at the size they are coded in: those that others refer to, and those on their way. */
function decoding(video: VideoStream, decoderThreads: number): number {
  return bytesOf(video) * (references(video) * 1.25 + 2 + (decoderThreads - 1) * 2);
}

/**
 * What a decoder has to keep, by the highest levels in use: the smaller the picture the more.
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

/** Frames that filters hold: turning and deinterlacing at the coded size, tone mapping in floating point at the size that comes out. */
function filtering(video: VideoStream, sizes: Size[], toneMapping: boolean): number {
  const held = (video.rotation === 0 ? 0 : 1) + (video.interlaced ? 3 : 0);
  const mapped = video.hdr && toneMapping ? Math.max(0, ...sizes.map(pixels)) * 44 : 0;
  return bytesOf(video) * held + mapped;
}

/** Frames that x264 holds on two threads: it looks ahead further the slower the preset is, and refers to more. */
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
  heldByPreset[preset][profile] + (profile === 'fast' ? Math.max(0, threads - 2) * 10 : 0);

const pixels = ({ width, height }: Size) => width * height;
