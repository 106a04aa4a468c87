import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError, RetryableError } from '../base/errors.ts';
import { endsEarly, truncated } from './damage.ts';
import { copyMemory } from './ffmpeg-memory.ts';
import type { Size } from './filters.ts';
import { takeFrame } from './frame.ts';
import { encodeLadder, type Ladder, type LadderOptions } from './ladder.ts';
import { rateOf } from './ladder/graph.ts';
import { sniffMedia } from './sniff-media.ts';
import { makeStoryboard, type Storyboard } from './storyboard.ts';
import { packageStream, type Stream } from './streaming.ts';
import { around, makeThumbnails, type Thumbnail } from './thumbnails.ts';
import { metadataOf, refuseLong, type VideoMetadata } from './video.ts';
import { chooseStreams, type VideoSource } from './video-source.ts';

export const formats = ['hls', 'dash', 'mp4'] as const;
export type Format = (typeof formats)[number];

export type TranscodeOptions = LadderOptions & {
  formats: readonly Format[];
  /** Boxes that thumbnails fit into; undefined: no thumbnails, and no storyboard. */
  thumbnails: readonly Size[] | undefined;
  /** Whether the DASH manifest names each segment, since each is to have an address of its own. */
  listed: boolean;
};

/** Files in the folder of the options. */
export type Transcoded = {
  /** Seconds. */
  duration: number;
  ladder: Ladder;
  /** Where HLS or DASH was asked for. */
  stream: Stream | undefined;
  /** The largest rung with the sound, in a file that plays while it loads. */
  mp4: (Size & { path: string; bytes: number }) | undefined;
  /** WebP, one for each box. */
  thumbnails: Thumbnail[];
  storyboard: Storyboard | undefined;
  /** Of the original. */
  metadata: VideoMetadata;
};

/**
 * Makes of a video that nobody trusts what players stream, in several sizes, and pictures of it. All that comes out was looked at again.
 * @throws PermanentError as processVideo does, and `watermark_broken`; RetryableError `output_invalid`; what Ffmpeg throws; the signal's reason
 */
export async function transcode(path: string, options: TranscodeOptions): Promise<Transcoded> {
  const { ffmpeg, memory, settings, dir, signal, onProgress } = options;
  const container = await sniffMedia(path);
  const probe = await ffmpeg.probe(path, { dir, signal });
  const source = chooseStreams(probe);
  if (source.seconds !== undefined && source.seconds > settings.maxSeconds) await refuseLong(path, source, options);

  const streaming = options.formats.some((format) => format !== 'mp4');
  const ladder = await encodeLadder(path, source, {
    ...options,
    onlyTop: !streaming,
    onProgress: (share) => onProgress(share * 0.9),
  });
  const duration = await checkLength(ladder, source, options);

  const copying = <T>(work: () => Promise<T>) => memory.run(copyMemory, signal, work);
  const stream = streaming
    ? await copying(() => packageStream(ladder, rateOf(source.video), { ffmpeg, dir, signal, listed: options.listed }))
    : undefined;
  onProgress(0.93);
  const mp4 = options.formats.includes('mp4') ? await copying(() => remux(ladder, options)) : undefined;
  onProgress(0.95);
  const thumbnails = options.thumbnails ? await picturesOf(path, source, options.thumbnails, options) : [];
  onProgress(0.98);
  const storyboard = options.thumbnails
    ? await copying(() => makeStoryboard(ladder.rungs.at(-1)!, duration, { ffmpeg, dir, signal }))
    : undefined;
  const metadata = metadataOf(container, probe, source, duration);
  return { duration, ladder, stream, mp4, thumbnails, storyboard, metadata };
}

/** @returns the seconds that it lasts */
async function checkLength(
  { rungs, audio }: Ladder,
  source: VideoSource,
  { ffmpeg, dir, signal, settings }: TranscodeOptions,
): Promise<number> {
  const lengthOf = async (path: string) => (await ffmpeg.probe(path, { dir, signal })).duration ?? 0;
  const picture = await lengthOf(rungs[0]!.path);
  const sound = audio ? await lengthOf(audio) : 0;
  const duration = Math.max(picture, sound);
  if (duration > settings.maxSeconds + 0.5) {
    const most = `${settings.maxSeconds} s (VIDEO_MAX_SECONDS)`;
    throw new PermanentError('video_too_long', `The video lasts more than ${most}`);
  }
  if (endsEarly(source.video.duration, picture) || endsEarly(source.audio?.duration, sound))
    throw truncated(source.seconds ?? 0, audio ? Math.min(picture, sound) : picture);
  return duration;
}

async function remux({ rungs, audio }: Ladder, { ffmpeg, dir, signal }: TranscodeOptions): Promise<Transcoded['mp4']> {
  const { path: top, width, height } = rungs[0]!;
  const path = join(dir, 'video.mp4');
  const inputs = [top, ...(audio ? [audio] : [])];
  const options = [
    ...inputs.flatMap((_, n) => ['-map', `${n}:0`]),
    ...'-c copy -map_metadata -1 -fflags +bitexact -movflags +faststart -f mp4'.split(' '),
  ];
  const task = { inputs: inputs.map((input) => ({ path: input })), outputs: [{ path, options }] };
  // It is as large as its parts, which have had their limits.
  await ffmpeg.run(task, { dir, signal, limits: { fileBytes: 100e9 } });
  const made = await ffmpeg.probe(path, { dir, signal });
  if (made.video[0]?.width !== width || made.audio.length !== inputs.length - 1)
    throw new RetryableError('output_invalid', 'What ffmpeg made is no MP4 of the picture and the sound');
  return { path, width, height, bytes: (await stat(path)).size };
}

/** Of the original, and so without a watermark. */
async function picturesOf(
  path: string,
  { video, seconds }: VideoSource,
  boxes: readonly Size[],
  { ffmpeg, memory, dir, signal }: TranscodeOptions,
): Promise<Thumbnail[]> {
  const box = around(boxes);
  const frame = await takeFrame(path, { ffmpeg, video, duration: seconds, at: 1, box, dir, signal, memory });
  const { thumbnails } = await makeThumbnails(frame.path, boxes, 'webp', { dir, signal, memory });
  return thumbnails;
}
