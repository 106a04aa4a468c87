import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError, RetryableError } from '../base/errors.ts';
import { checkDamage, damageOf, endsEarly, truncated } from './damage.ts';
import type { Ffmpeg, RunOptions, Task } from './ffmpeg.ts';
import { copyMemory, planEncode, profileOptions, type EncodePlan, type Preset } from './ffmpeg-memory.ts';
import type { Probe } from './ffmpeg/probe.ts';
import { fit, pictureFilters, type Size } from './filters.ts';
import { takeFrame } from './frame.ts';
import type { MemoryGate, Need } from './memory.ts';
import { encodeInPieces } from './pieces.ts';
import { sharp } from './sharp.ts';
import { sniffMedia } from './sniff-media.ts';
import {
  canCopyPicture,
  canCopySound,
  chooseStreams,
  longSide,
  type VideoSettings,
  type VideoSource,
} from './video-source.ts';

export type VideoOptions = {
  ffmpeg: Ffmpeg;
  memory: MemoryGate;
  settings: VideoSettings & { preset: Preset };
  /** A private folder for what is made. */
  dir: string;
  signal: AbortSignal;
  /** The share that is done, 0 to 1. */
  onProgress?: (share: number) => void;
};

export type ProcessedVideo = {
  /** An MP4 of H.264 and AAC, without metadata, that plays while it loads. */
  path: string;
  /** Upright, in pixels, and in seconds. */
  width: number;
  height: number;
  duration: number;
  bytes: number;
  /** `copy`: the streams are the original's; `copy_picture`: its picture; `encode`: neither. */
  mode: 'copy' | 'copy_picture' | 'encode';
  /** A JPEG of the frame at one second. */
  poster: { data: Buffer } & Size;
  /** Of the original. */
  metadata: VideoMetadata;
};

export type VideoMetadata = {
  format: string;
  codec: string;
  width: number;
  height: number;
  /** Seconds, as it really lasts. */
  duration: number;
  bytes: number;
  bitrate: number | null;
  fps: number | null;
  /** Degrees clockwise by which players turn it. */
  rotation: number;
  hdr: boolean;
  audio_codec: string | null;
  audio_channels: number | null;
  audio_sample_rate: number | null;
};

/**
 * Makes a video that plays everywhere of one that nobody trusts, never enlarged, and a poster. What plays everywhere already is copied, in a
 * hundredth of the time.
 * @throws PermanentError `not_media`, `no_video_stream`, `too_many_streams`, `video_too_large`, `frame_rate_too_high`, `video_too_long`,
 *   `media_truncated`, `media_corrupt`; RetryableError `output_invalid`; what Ffmpeg throws; the signal's reason
 */
export async function processVideo(path: string, options: VideoOptions): Promise<ProcessedVideo> {
  const { ffmpeg, dir, signal, settings } = options;
  const format = await sniffMedia(path);
  const probe = await ffmpeg.probe(path, { dir, signal });
  const source = chooseStreams(probe);
  if (source.seconds !== undefined && source.seconds > settings.maxSeconds) await refuseLong(path, source, options);

  const to = join(dir, 'video.mp4');
  const copied = canCopyPicture(probe, source, settings) ? await copy(path, to, source, options) : undefined;
  const mode = copied ?? (await encode(path, to, source, options));

  const made = await ffmpeg.probe(to, { dir, signal });
  const { width, height, duration } = checkOutput(made, source, settings);
  return {
    path: to,
    width,
    height,
    duration,
    bytes: (await stat(to)).size,
    mode,
    poster: await makePoster(to, made, options),
    metadata: metadataOf(format, probe, source, duration),
  };
}

/** A file may say that it lasts for days, and last for a second. */
export async function refuseLong(path: string, { video, seconds }: VideoSource, options: VideoOptions): Promise<never> {
  const { maxSeconds } = options.settings;
  let reached = 0;
  const limit = ['-t', String(maxSeconds)];
  await options.ffmpeg.run(
    {
      inputs: [{ path }],
      outputs: [{ path: 'pipe:1', options: ['-map', `0:${video.index}`, '-c', 'copy', ...limit, '-f', 'null'] }],
    },
    { ...runOptions(options, maxSeconds), onProgress: (share) => (reached = share) },
  );
  if (reached < 0.98)
    throw new PermanentError(
      'media_truncated',
      `The file says that it lasts ${Math.round(seconds!)} s, but ends long before`,
    );
  throw new PermanentError(
    'video_too_long',
    `The video lasts ${Math.round(seconds!)} s: ${maxSeconds} is the most (VIDEO_MAX_SECONDS)`,
  );
}

/**
 * Copies the picture, and the sound where that can be; and looks in the same pass at the key frames, and all of the sound, for damage. That
 * takes three times the CPU time of a copy without, and is still a fiftieth of an encode.
 * @returns undefined when there may be damage: then an encode, which decodes all of it, is to judge
 */
async function copy(
  path: string,
  to: string,
  source: VideoSource,
  options: VideoOptions,
): Promise<'copy' | 'copy_picture' | undefined> {
  const { video, audio, seconds } = source;
  const { memory, signal, settings } = options;
  if (copyMemory > memory.bytes) return undefined;
  const copySound = canCopySound(audio);
  const maps = mapsOf(source);
  const sound = copySound ? ['-c:a', 'copy'] : soundOptions(settings.audioBitrate);
  // What is encoded is decoded there already.
  const looked = copySound ? maps : ['-map', `0:${video.index}`];
  const task: Task = {
    // For what is decoded: a copy takes every packet.
    inputs: [{ path, options: ['-threads', '1', '-skip_frame', 'nokey'] }],
    outputs: [
      { path: to, options: [...maps, '-c:v', 'copy', ...withoutMessages, ...sound, ...containerOptions(settings)] },
      { path: 'pipe:1', options: [...looked, ...queue, '-f', 'null'] },
    ],
  };
  const { stderr } = await memory.run(copyMemory, signal, () => options.ffmpeg.run(task, runOptions(options, seconds)));
  checkDamage(stderr, seconds ?? 0);
  if (damageOf(stderr).faults > 0) return undefined;
  return copySound ? 'copy' : 'copy_picture';
}

async function encode(path: string, to: string, source: VideoSource, options: VideoOptions): Promise<'encode'> {
  const { ffmpeg, memory, signal, settings } = options;
  const capabilities = await ffmpeg.capabilities();
  const { preset } = settings;
  const { toneMapping } = capabilities;
  const { plans, sort } = planEncode(source, longSide, { preset, toneMapping, memory });
  const pictureOf = (plan: EncodePlan) => {
    const filters = pictureFilters(source.video, plan.size, capabilities);
    return ['-vf', filters, ...pictureOptions(plan, settings)];
  };
  const sound = source.audio ? soundOptions(settings.audioBitrate) : [];
  const file = containerOptions(settings);
  if (sort === 'piece') {
    const { profile, bytes } = plans[0];
    const parts = { decoder: profileOptions[profile].decoder, picture: pictureOf(plans[0]), sound, file };
    const limits = { bytes, mostSeconds: settings.maxSeconds + 1 };
    if (await encodeInPieces(path, to, source, parts, { ...options, ...limits })) return 'encode';
  }
  const need: Need = { bytes: plans.map(({ bytes }) => bytes) as [number, ...number[]], sort };
  const { stderr } = await memory.run(need, signal, (granted) => {
    const plan = plans.find(({ bytes }) => bytes === granted)!;
    const task: Task = {
      inputs: [{ path, options: profileOptions[plan.profile].decoder }],
      outputs: [{ path: to, options: [...mapsOf(source), ...pictureOf(plan), ...sound, ...file] }],
    };
    return ffmpeg.run(task, { ...runOptions(options, source.seconds), ...(sort === 'short' ? {} : patient) });
  });
  checkDamage(stderr, source.seconds ?? 0);
  return 'encode';
}

/** For what takes long: the cores are left to others, and so the clock says little of whether it gets on. Its CPU time is limited as ever. */
const patient = { background: true, limits: { wallMs: 86_400_000 } };

const mapsOf = ({ video, audio }: VideoSource) =>
  [video, audio].flatMap((stream) => (stream ? ['-map', `0:${stream.index}`] : []));

function pictureOptions({ size, profile }: EncodePlan, { preset, videoBitrate = Infinity }: VideoOptions['settings']) {
  // About 6 Mb/s for 1080p and 2.8 for 720p.
  const usual = Math.max(400_000, size.width * size.height * 3);
  const bitrate = Math.round(Math.min(videoBitrate, usual));
  return [
    ...`-c:v libx264 -preset ${preset} -crf 23 -maxrate ${bitrate} -bufsize ${bitrate * 2} -profile:v high`.split(' '),
    ...profileOptions[profile].encoder,
  ];
}

/**
 * The messages between the parts of an H.264 picture (SEI): cameras of cars, and camcorders, write there where they are. Captions of television
 * stand there too. https://ffmpeg.org/ffmpeg-bitstream-filters.html#filter_005funits
 */
const withoutMessages = ['-bsf:v', 'filter_units=remove_types=6'];

const soundOptions = (bitrate: number) => `-c:a aac -b:a ${bitrate} -ac 2 -ar 48000`.split(' ');

/** ffmpeg before 5 holds 128 packets of one stream while it waits for the first of another, and then gives up. */
const queue = ['-max_muxing_queue_size', '4096'];

/** Without any of the original's metadata, above all where it was taken; its index in front. */
const containerOptions = ({ maxSeconds }: VideoSettings) => [
  ...queue,
  ...`-map_metadata -1 -map_chapters -1 -fflags +bitexact -t ${maxSeconds + 1} -movflags +faststart -f mp4`.split(' '),
];

function runOptions({ dir, signal, settings, onProgress }: VideoOptions, seconds: number | undefined): RunOptions {
  return { dir, signal, duration: seconds ?? settings.maxSeconds, ...(onProgress ? { onProgress } : {}) };
}

/** Nothing is given out that was not looked at. */
function checkOutput(made: Probe, source: VideoSource, { maxSeconds }: VideoSettings): Size & { duration: number } {
  const [video] = made.video;
  const [audio] = made.audio;
  const { duration } = made;
  if (!video || video.codec !== 'h264' || !duration || (audio && audio.codec !== 'aac'))
    throw new RetryableError('output_invalid', 'What ffmpeg made is no video of H.264 and AAC');
  if (duration > maxSeconds + 0.5)
    throw new PermanentError('video_too_long', `The video lasts more than ${maxSeconds} s (VIDEO_MAX_SECONDS)`);
  const { seconds, ownSeconds } = source;
  const short = [
    endsEarly(source.video.duration, video.duration ?? 0),
    endsEarly(source.audio?.duration, audio?.duration ?? 0),
    endsEarly(ownSeconds, duration),
  ];
  if (short.includes(true)) throw truncated(seconds ?? 0, duration);
  const { width, height } = fit(video.shown, video.shown);
  return { width, height, duration };
}

const posterBox = { width: 640, height: 640 };

async function makePoster(path: string, made: Probe, options: VideoOptions): Promise<ProcessedVideo['poster']> {
  const { ffmpeg, memory, dir, signal } = options;
  const { duration, video } = made;
  const frame = await takeFrame(path, {
    ffmpeg,
    video: video[0]!,
    duration,
    at: 1,
    box: posterBox,
    dir,
    signal,
    memory,
  });
  const { data, info } = await sharp(frame.path).jpeg({ quality: 82 }).toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

export function metadataOf(
  format: string,
  { bytes, bitrate }: Probe,
  { video, audio }: VideoSource,
  duration: number,
): VideoMetadata {
  return {
    format,
    codec: video.codec,
    width: Math.round(video.shown.width),
    height: Math.round(video.shown.height),
    duration: rounded(duration),
    bytes,
    bitrate: bitrate ?? null,
    fps: video.fps === undefined ? null : rounded(video.fps),
    rotation: video.rotation,
    hdr: video.hdr,
    audio_codec: audio?.codec ?? null,
    audio_channels: audio?.channels ?? null,
    audio_sample_rate: audio?.sampleRate ?? null,
  };
}

const rounded = (value: number) => Math.round(value * 1_000) / 1_000;
