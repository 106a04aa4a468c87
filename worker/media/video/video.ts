import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError, RetryableError } from '../../base/errors.ts';
import { damageOf, endsEarly } from '../ffmpeg/damage.ts';
import type { Ffmpeg, Task } from '../ffmpeg/ffmpeg.ts';
import { copyMemory, planEncode, profileOptions, type EncodePlan, type Preset } from '../ffmpeg/memory.ts';
import type { AudioStream, Probe } from '../ffmpeg/probe.ts';
import { fit, pictureFilters, type Size } from '../ffmpeg/filters.ts';
import { takeFrame } from './frame.ts';
import { metadataOf, type VideoMetadata } from './metadata.ts';
import type { MemoryGate, Need } from '../memory.ts';
import { encodeInPieces } from './pieces.ts';
import { sharp } from '../image/sharp.ts';
import { createSoundMeter } from '../audio/sound-meter.ts';
import { checkReadable, decoding, judgeVideo, openMedia, type Media, type TruncatedPolicy } from '../ffmpeg/verdict.ts';
import {
  canCopyPicture,
  canCopySound,
  findSource,
  longSide,
  type VideoSettings,
  type VideoSource,
} from '../ffmpeg/source.ts';
import { drawWatermark, type Watermark } from './watermark.ts';

export type VideoOptions = {
  ffmpeg: Ffmpeg;
  memory: MemoryGate;
  settings: VideoSettings & { preset: Preset; truncated: TruncatedPolicy };
  watermark: Watermark | undefined;
  /** A private folder for what is made. */
  dir: string;
  signal: AbortSignal;
  /** Called with the part that is done, 0 to 1. */
  onProgress?: (share: number) => void;
};

export type ProcessedVideo = {
  /** An MP4 of H.264 and AAC, without metadata, that plays while it loads. */
  path: string;
  /** Upright, in pixels; the duration in seconds. */
  width: number;
  height: number;
  duration: number;
  bytes: number;
  /** `copy`: picture and sound were copied; `copy_picture`: the sound was encoded; `encode`: both were. */
  mode: 'copy' | 'copy_picture' | 'encode';
  /** Whether the original is cut off, and this is what was left of it. */
  truncated: boolean;
  /** A JPEG of the frame at one second. */
  poster: { data: Buffer } & Size;
  /** Of the original. */
  metadata: VideoMetadata;
};

/**
 * Makes a poster, and of an untrusted video one that plays everywhere, never larger. A video that plays everywhere
 * already is copied, which takes a hundredth of the time.
 * @throws PermanentError `not_media`, `no_video_stream`, `unsupported_codec`, `too_many_streams`, `video_too_large`,
 *   `frame_rate_too_high`, `video_too_long`, `media_truncated`, `media_corrupt`, `ffmpeg_too_old`, `watermark_broken`;
 *   RetryableError `output_invalid`; what Ffmpeg throws; the signal's reason
 */
export async function processVideo(path: string, options: VideoOptions): Promise<ProcessedVideo> {
  const { ffmpeg, dir, signal, settings, watermark } = options;
  const media = await openMedia(path, 'video', options);
  const { format, probe } = media;
  const source = await findSource(path, probe, options);
  if (source.audio) await checkReadable(source.audio, ffmpeg);

  const to = join(dir, 'video.mp4');
  const plays = !watermark && canCopyPicture(probe, source, settings);
  const work = plays ? copyOrEncode(path, to, source, options) : encode(path, to, source, options);
  const stream = { kind: 'video', index: source.video.index } as const;
  let made = await decoding(media, stream, work, options);
  let output = await ffmpeg.probe(to, { dir, signal });
  // Matroska does not say when a frame is to be decoded. Where frames are far apart, a copy becomes too short.
  if (made.mode !== 'encode' && !media.cut && endsEarly(source.seconds, output.duration ?? 0)) {
    made = await decoding(media, stream, encode(path, to, source, options), options);
    output = await ffmpeg.probe(to, { dir, signal });
  }
  const { width, height, duration, truncated } = await checkOutput(output, media, source, made, options);
  return {
    path: to,
    width,
    height,
    duration,
    bytes: (await stat(to)).size,
    mode: made.mode,
    truncated,
    poster: await makePoster(to, output, options),
    metadata: metadataOf(format, probe, source, duration),
  };
}

/** `heard`: the seconds of sound that the decoder returned; undefined if the sound was copied, or there is none. */
type Made = { mode: ProcessedVideo['mode']; stderr: string; heard: number | undefined };

async function copyOrEncode(path: string, to: string, source: VideoSource, options: VideoOptions): Promise<Made> {
  const copied = copyMemory <= options.memory.bytes ? await copy(path, to, source, options) : undefined;
  // If the file may be damaged, it is encoded: that decodes every frame, so it shows the damage.
  return copied && damageOf(copied.stderr).faults === 0 ? copied : encode(path, to, source, options);
}

/**
 * Copies the picture, and the sound if possible. In the same pass it checks the key frames, and all of the sound, for
 * damage. That takes three times the CPU time of a copy without checks, but a fiftieth of an encode.
 */
async function copy(path: string, to: string, source: VideoSource, options: VideoOptions): Promise<Made> {
  const { video, audio } = source;
  const { settings } = options;
  const copySound = canCopySound(audio);
  const maps = mapsOf(source);
  const sound = copySound ? ['-c:a', 'copy'] : soundOptions(settings.audioBitrate);
  // Sound that is encoded needs no check of its own: the encode decodes all of it.
  const checked = ['-map', `1:${video.index}`, ...(audio && copySound ? ['-map', `0:${audio.index}`] : [])];
  const one = ['-threads', '1'];
  const task: Task = {
    // If ffmpeg reads only key frames, it gets the start of the file wrong. So the file is opened twice: to copy it,
    // and to check its key frames.
    inputs: [
      { path, options: one },
      { path, options: [...one, '-skip_frame', 'nokey'] },
    ],
    outputs: [
      { path: to, options: [...maps, '-c:v', 'copy', ...withoutMessages, ...sound, ...containerOptions(settings)] },
      { path: 'pipe:1', options: [...checked, ...queue, '-f', 'null'] },
    ],
  };
  const need: Need = { bytes: [copyMemory], sort: 'short' };
  const done = await run(() => task, need, copySound ? undefined : audio, source, options);
  return { mode: copySound ? 'copy' : 'copy_picture', ...done };
}

async function encode(path: string, to: string, source: VideoSource, options: VideoOptions): Promise<Made> {
  const { ffmpeg, memory, settings, watermark, dir } = options;
  const { audio, video } = source;
  const capabilities = await ffmpeg.capabilities();
  const { preset } = settings;
  const { plans, sort } = planEncode(source, longSide, { preset, toneMapping: capabilities.toneMapping, memory });
  const filtersOf = (plan: EncodePlan) => pictureFilters(video, plan.size, capabilities);
  const sound = audio ? soundOptions(settings.audioBitrate) : [];
  const file = containerOptions(settings);
  if (sort === 'piece' && !watermark) {
    const { profile, bytes } = plans[0];
    const picture = ['-vf', filtersOf(plans[0]), ...pictureOptions(plans[0], settings)];
    const parts = { decoder: profileOptions[profile].decoder, picture, sound, file };
    const limits = { bytes, mostSeconds: settings.maxSeconds + 1 };
    const pieces = await encodeInPieces(path, to, source, parts, { ...options, ...limits });
    if (pieces) return { mode: 'encode', ...pieces };
  }
  const need: Need = { bytes: plans.map(({ bytes }) => bytes) as [number, ...number[]], sort };
  const taskFor = async (granted: number): Promise<Task> => {
    const plan = plans.find(({ bytes }) => bytes === granted)!;
    const mark = watermark ? await drawWatermark(watermark, plan.size, dir) : undefined;
    const plain = `[0:${video.index}]${filtersOf(plan)}`;
    const shown = ['-map', '[shown]', ...(audio ? ['-map', `0:${audio.index}`] : [])];
    return {
      inputs: [{ path, options: profileOptions[plan.profile].decoder }, ...(mark ? [mark.input] : [])],
      filter: mark ? `${plain}[plain];[plain][1:0]overlay=${mark.place.x}:${mark.place.y}[shown]` : `${plain}[shown]`,
      outputs: [{ path: to, options: [...shown, ...pictureOptions(plan, settings), ...sound, ...file] }],
    };
  };
  return { mode: 'encode', ...(await run(taskFor, need, audio, source, options)) };
}

/** @param decoded the sound that is decoded, and so is to be measured */
async function run(
  taskFor: (granted: number) => Promise<Task> | Task,
  need: Need,
  decoded: AudioStream | undefined,
  { seconds }: VideoSource,
  options: VideoOptions,
): Promise<Pick<Made, 'stderr' | 'heard'>> {
  const { ffmpeg, memory, dir, signal, settings, onProgress } = options;
  const { maxSeconds } = settings;
  const meter = decoded && createSoundMeter(decoded, maxSeconds);
  const { stderr } = await memory.run(need, signal, async (granted) => {
    const { outputs, ...task } = await taskFor(granted);
    return ffmpeg.run(
      { ...task, outputs: [...outputs, ...(meter ? [meter.output] : [])] },
      {
        dir,
        signal,
        duration: seconds ?? maxSeconds,
        ...(meter ? { onOutput: meter.add } : {}),
        ...(onProgress ? { onProgress } : {}),
        ...(need.sort === 'short' ? {} : patient),
      },
    );
  });
  return { stderr, heard: meter?.seconds() };
}

/**
 * For long encodes: they leave the cores to other jobs, so the clock says little about their progress. Their CPU time
 * is limited as usual.
 */
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
 * Removes the messages inside an H.264 picture (SEI): car cameras and camcorders write their position there. Captions
 * of television are removed with them. https://ffmpeg.org/ffmpeg-bitstream-filters.html#filter_005funits
 */
const withoutMessages = ['-bsf:v', 'filter_units=remove_types=6'];

const soundOptions = (bitrate: number) => `-c:a aac -b:a ${bitrate} -ac 2 -ar 48000`.split(' ');

/** ffmpeg before 5 holds 128 packets of one stream while it waits for the first of another, and then gives up. */
const queue = ['-max_muxing_queue_size', '4096'];

/** Without any metadata of the original, above all its position; with the index in front. */
const containerOptions = ({ maxSeconds }: VideoSettings) => [
  ...queue,
  ...`-map_metadata -1 -map_chapters -1 -fflags +bitexact -t ${maxSeconds + 1} -movflags +faststart -f mp4`.split(' '),
];

/** Checks the file before it is used. */
async function checkOutput(
  output: Probe,
  media: Media,
  source: VideoSource,
  { stderr, heard }: Made,
  options: VideoOptions,
): Promise<Size & { duration: number; truncated: boolean }> {
  const { maxSeconds } = options.settings;
  const [video] = output.video;
  const [audio] = output.audio;
  const { duration = 0 } = output;
  if ((video && video.codec !== 'h264') || (audio && audio.codec !== 'aac'))
    throw new RetryableError('output_invalid', 'The output of ffmpeg is no video of H.264 and AAC');
  if (duration > maxSeconds + 0.5)
    throw new PermanentError('video_too_long', `The video lasts more than ${maxSeconds} s (VIDEO_MAX_SECONDS)`);
  const found = { picture: video?.duration ?? 0, sound: heard ?? audio?.duration ?? 0 };
  const truncated = await judgeVideo(media, source, stderr, found, options);
  if (!video || !duration)
    throw new PermanentError('media_corrupt', 'The file is damaged: none of its pictures can be decoded');
  const { width, height } = fit(video.shown, video.shown);
  return { width, height, duration, truncated };
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
