import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError, RetryableError } from '../../base/errors.ts';
import { copyMemory } from '../ffmpeg/memory.ts';
import type { VideoStream } from '../ffmpeg/probe.ts';
import type { Size } from '../ffmpeg/filters.ts';
import { takeFrame } from './frame.ts';
import { checkRungs, encodeLadder, type Ladder, type LadderOptions } from './ladder/ladder.ts';
import { rateOf } from './ladder/graph.ts';
import { makeStoryboard, type Storyboard } from './storyboard.ts';
import { packageStream, type Stream } from './streaming/streaming.ts';
import { around, makeThumbnails, type Thumbnail } from '../image/thumbnails.ts';
import { checkReadable, decoding, judgeVideo, openMedia, type Media, type TruncatedPolicy } from '../ffmpeg/verdict.ts';
import { metadataOf, type VideoMetadata } from './metadata.ts';
import { findSource, type VideoSource } from '../ffmpeg/source.ts';

export type Format = 'hls' | 'dash' | 'mp4';

export type TranscodeOptions = LadderOptions & {
  settings: { truncated: TruncatedPolicy };
  formats: readonly Format[];
  /** Boxes that the thumbnails fit into; undefined: no thumbnails and no storyboard. */
  thumbnails: readonly Size[] | undefined;
  /** Whether the DASH manifest names each segment, because each gets an address of its own. */
  listed: boolean;
};

/** Files in the folder `dir` of the options. */
export type Transcoded = {
  /** Seconds. */
  duration: number;
  /** Whether the original is cut off, and this is what was left of it. */
  truncated: boolean;
  ladder: Ladder;
  /** If HLS or DASH was asked for. */
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
 * Makes files for streaming, in several sizes, and pictures of an untrusted video. All outputs are checked.
 * @throws PermanentError as processVideo does, and `watermark_broken`; RetryableError `output_invalid`; what Ffmpeg
 *   throws; the signal's reason
 */
export async function transcode(path: string, options: TranscodeOptions): Promise<Transcoded> {
  const { ffmpeg, memory, dir, signal, onProgress } = options;
  const media = await openMedia(path, 'video', options);
  const { format, probe } = media;
  const source = await findSource(path, probe, options);
  if (source.audio) await checkReadable(source.audio, ffmpeg);

  const streaming = options.formats.some((each) => each !== 'mp4');
  const encoding = encodeLadder(path, source, {
    ...options,
    onlyTop: !streaming,
    onProgress: (share) => onProgress(share * 0.9),
  });
  const ladder = await decoding(media, { kind: 'video', index: source.video.index }, encoding, options);
  const { duration, truncated } = await checkLength(ladder, media, source, options);
  await checkRungs(ladder, options);

  const copying = <T>(work: () => Promise<T>) => memory.run(copyMemory, signal, work);
  const stream = streaming
    ? await copying(() => packageStream(ladder, rateOf(source.video), { ffmpeg, dir, signal, listed: options.listed }))
    : undefined;
  onProgress(0.93);
  const mp4 = options.formats.includes('mp4') ? await copying(() => remux(ladder, options)) : undefined;
  onProgress(0.95);
  const thumbnails = options.thumbnails
    ? await picturesOf(path, source.video, duration, options.thumbnails, options)
    : [];
  onProgress(0.98);
  const storyboard = options.thumbnails
    ? await copying(() => makeStoryboard(ladder.rungs.at(-1)!, duration, { ffmpeg, dir, signal }))
    : undefined;
  const metadata = metadataOf(format, probe, source, duration);
  return { duration, truncated, ladder, stream, mp4, thumbnails, storyboard, metadata };
}

/** The length in seconds, and whether the original is cut off. */
async function checkLength(
  { rungs, audio, stderr, heard }: Ladder,
  media: Media,
  source: VideoSource,
  options: TranscodeOptions,
): Promise<Pick<Transcoded, 'duration' | 'truncated'>> {
  const { ffmpeg, dir, signal, settings } = options;
  const lengthOf = async (path: string) => (await ffmpeg.probe(path, { dir, signal })).duration ?? 0;
  const picture = await lengthOf(rungs[0]!.path);
  const duration = Math.max(picture, audio ? await lengthOf(audio) : 0);
  if (duration > settings.maxSeconds + 0.5) {
    const most = `${settings.maxSeconds} s (VIDEO_MAX_SECONDS)`;
    throw new PermanentError('video_too_long', `The video lasts more than ${most}`);
  }
  const truncated = await judgeVideo(media, source, stderr, { picture, sound: heard }, options);
  return { duration, truncated };
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
  // It is as large as its parts, whose sizes were limited.
  await ffmpeg.run(task, { dir, signal, limits: { fileBytes: 100e9 } });
  const made = await ffmpeg.probe(path, { dir, signal });
  if (made.video[0]?.width !== width || made.audio.length !== inputs.length - 1)
    throw new RetryableError('output_invalid', 'The output of ffmpeg is no MP4 of the picture and the sound');
  return { path, width, height, bytes: (await stat(path)).size };
}

/** From the original, so without a watermark. */
async function picturesOf(
  path: string,
  video: VideoStream,
  duration: number,
  boxes: readonly Size[],
  { ffmpeg, memory, dir, signal }: TranscodeOptions,
): Promise<Thumbnail[]> {
  const box = around(boxes);
  const frame = await takeFrame(path, { ffmpeg, video, duration, at: 1, box, dir, signal, memory });
  const { thumbnails } = await makeThumbnails(frame.path, boxes, 'webp', { dir, signal, memory });
  return thumbnails;
}
