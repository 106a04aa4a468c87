import { join } from 'node:path';
import { PermanentError, RetryableError } from '../../../base/errors.ts';
import type { Ffmpeg, Task } from '../../ffmpeg/ffmpeg.ts';
import { isLong, profileOptions, soundMemory, threads, type Preset, type Profile } from '../../ffmpeg/memory.ts';
import { ladderGraph } from './graph.ts';
import { encodeRungsInPieces } from './pieces.ts';
import { planLadder, type Group, type Plan } from './plan.ts';
import { rungsOf, type Rung } from './rungs.ts';
import type { MemoryGate, Sort } from '../../memory.ts';
import { createSoundMeter, type SoundMeter } from '../../audio/sound-meter.ts';
import type { VideoSettings, VideoSource } from '../../ffmpeg/source.ts';
import { drawWatermark, type Watermark } from '../watermark.ts';

export type LadderOptions = {
  ffmpeg: Ffmpeg;
  memory: MemoryGate;
  settings: VideoSettings & { preset: Preset };
  watermark: Watermark | undefined;
  dir: string;
  signal: AbortSignal;
  /** Called with the part that is done, 0 to 1. */
  onProgress: (share: number) => void;
};

/** Files with one stream each: every rung of the picture, largest first, and the sound. */
export type Ladder = {
  rungs: (Rung & { path: string })[];
  audio: string | undefined;
  /** ffmpeg's messages about the original, and the seconds of sound that the decoder returned. */
  stderr: string;
  heard: number;
  /**
   * What determines the bytes besides the options: the names of the rungs that were encoded together, the profile, the
   * threads, the version.
   */
  made: unknown;
};

/** Seconds between key frames, in every rung. At a key frame, a player may switch to another rung. */
export const keyFrameSeconds = 2;

/**
 * Encodes a video in several sizes, H.264 in MP4, and its sound once, in AAC with two channels.
 * @throws PermanentError `video_too_large`, `watermark_broken`; RetryableError `output_invalid`; what Ffmpeg throws;
 *   the signal's reason
 */
export async function encodeLadder(
  path: string,
  source: VideoSource,
  options: LadderOptions & { onlyTop: boolean },
): Promise<Ladder> {
  const { ffmpeg, memory, settings, dir, onProgress } = options;
  const { toneMapping, version } = await ffmpeg.capabilities();
  const all = rungsOf(source.video.shown, settings.videoBitrate);
  const wanted = options.onlyTop ? all.slice(0, 1) : all;
  const plan = planBeside(source, wanted, memory, { preset: settings.preset, toneMapping });
  if (!plan) {
    const { width, height } = source.video;
    const budget = `MEDIA_MEMORY_MB is ${Math.floor(memory.bytes / 1e6)}`;
    throw new PermanentError('video_too_large', `${width} x ${height} pixels are too many for this machine: ${budget}`);
  }
  const audio = source.audio ? join(dir, 'audio.mp4') : undefined;
  const rungs = plan.groups.flatMap((group) => group.rungs.map((rung) => ({ ...rung, path: fileOf(rung, dir) })));
  const progressOf = byWork(plan.groups, onProgress);
  const cuts: number[][] = [];
  const meter = source.audio && createSoundMeter(source.audio, settings.maxSeconds);
  let stderr = '';
  for (const [n, group] of plan.groups.entries()) {
    const sound = n === 0 && audio && meter ? { path: audio, meter } : undefined;
    const part = { ...options, ...progressOf(n), profile: plan.profile, sound };
    const pieces = plan.sort === 'piece' ? await encodePieces(path, source, group, part) : undefined;
    if (pieces) cuts.push(pieces.cuts);
    stderr += pieces?.stderr ?? (await encodeGroup(path, source, { ...group, sort: plan.sort }, part));
  }
  const together = plan.groups.map((group) => group.rungs.map(({ name }) => name));
  return {
    rungs,
    audio,
    stderr,
    heard: meter?.seconds() ?? 0,
    made: { together, profile: plan.profile, cuts, threads, version },
  };
}

/** `sound`: where it goes, and what measures it. */
type GroupOptions = LadderOptions & { profile: Profile; sound: { path: string; meter: SoundMeter } | undefined };

/** @returns what ffmpeg complained about */
async function encodeGroup(
  path: string,
  source: VideoSource,
  { sort, ...group }: Group & { sort: Sort },
  options: GroupOptions,
): Promise<string> {
  const { ffmpeg, memory, settings, dir, signal, onProgress, sound } = options;
  const run = await memory.run({ bytes: [group.bytes], sort }, signal, async () => {
    const task = await taskOf(path, source, group, options);
    const background = sort !== 'short';
    const listening = sound ? { onOutput: sound.meter.add } : {};
    return ffmpeg.run(task, { dir, signal, background, onProgress, ...listening, ...limitsOf(source, settings) });
  });
  return run.stderr;
}

/** @returns where the rungs were cut, and ffmpeg's messages about the sound; undefined if encoding in pieces failed */
async function encodePieces(
  path: string,
  source: VideoSource,
  { rungs, bytes }: Group,
  options: GroupOptions,
): Promise<{ cuts: number[]; stderr: string } | undefined> {
  const { ffmpeg, memory, settings, watermark, dir, signal, sound } = options;
  const capabilities = await ffmpeg.capabilities();
  const mark = watermark ? await drawWatermark(watermark, rungs[0], dir) : undefined;
  const { decoder, encoder } = profileOptions.pieces;
  const parts = {
    decoder,
    mark: mark?.input,
    graph: (from: string) => ladderGraph(source.video, rungs, { capabilities, mark: mark?.place, from }),
    keyFrameSeconds,
  };
  const made = rungs.map((rung, n) => ({
    path: fileOf(rung, dir),
    options: ['-map', `[r${n}]`, ...pictureOptions(rung, settings), ...encoder],
  }));
  const cuts = await encodeRungsInPieces(path, source, made, parts, {
    ...options,
    bytes,
    mostSeconds: settings.maxSeconds + 1,
  });
  if (!cuts || !sound || !source.audio) return cuts && { cuts, stderr: '' };
  const { path: to, meter } = sound;
  const task = { inputs: [{ path }], outputs: [soundOf(to, source.audio.index, settings), meter.output] };
  const { stderr } = await memory.run(soundMemory, signal, () =>
    ffmpeg.run(task, { dir, signal, onOutput: meter.add }),
  );
  return { cuts, stderr };
}

const soundOf = (path: string, index: number, settings: LadderOptions['settings']) => ({
  path,
  options: ['-map', `0:${index}`, ...soundOptions(settings), ...fileOptions(settings)],
});

/**
 * Plans short work so that it fits beside the long encodes that may run, and a long encode so that it fits into its
 * share, if that does not make the picture smaller.
 * @returns undefined if nothing fits
 */
function planBeside(
  source: VideoSource,
  rungs: readonly Rung[],
  memory: MemoryGate,
  means: { preset: Preset; toneMapping: boolean },
): (Plan & { sort: Sort }) | undefined {
  const within = (budget: number) => planLadder(source.video, rungs, { ...means, budget });
  const whole = within(memory.bytes);
  const long = isLong(source, [...rungs]);
  const modest = within(long ? memory.longBytes : memory.bytes - memory.longBytes);
  const namesOf = (plan: Plan | undefined) =>
    plan?.groups.flatMap((group) => group.rungs.map(({ name }) => name)).join();
  if (modest && namesOf(modest) === namesOf(whole)) return { ...modest, sort: long ? 'long' : 'short' };
  return whole && { ...whole, sort: long ? 'piece' : 'short' };
}

const fileOf = ({ name }: Rung, dir: string) => join(dir, `${name}.mp4`);

async function taskOf(
  path: string,
  source: VideoSource,
  { rungs }: Group,
  { ffmpeg, settings, watermark, dir, profile, sound }: GroupOptions,
): Promise<Task> {
  const mark = watermark ? await drawWatermark(watermark, rungs[0], dir) : undefined;
  const common = fileOptions(settings);
  return {
    inputs: [{ path, options: profileOptions[profile].decoder }, ...(mark ? [mark.input] : [])],
    filter: ladderGraph(source.video, rungs, { capabilities: await ffmpeg.capabilities(), mark: mark?.place }),
    outputs: [
      ...rungs.map((rung, n) => ({
        path: fileOf(rung, dir),
        options: ['-map', `[r${n}]`, ...pictureOptions(rung, settings), ...profileOptions[profile].encoder, ...common],
      })),
      ...(sound && source.audio ? [soundOf(sound.path, source.audio.index, settings), sound.meter.output] : []),
    ],
  };
}

/** Constant quality, with a limit: https://trac.ffmpeg.org/wiki/Encode/H.264 */
const pictureOptions = ({ bitrate }: Rung, { preset }: LadderOptions['settings']) =>
  words(
    `-c:v libx264 -preset ${preset} -crf 23 -profile:v high -maxrate ${bitrate} -bufsize ${bitrate * 2}`,
    `-force_key_frames expr:gte(t,n_forced*${keyFrameSeconds}) -sc_threshold 0`,
  );

/** From 0 on and without gaps, like the picture. */
const soundOptions = ({ audioBitrate }: VideoSettings) =>
  words(`-af aresample=async=1000:first_pts=0 -ac 2 -ar 48000 -c:a aac -b:a ${audioBitrate}`);

/** Older versions of ffmpeg hold 128 packets of one stream until another has its first packet, and then give up. */
const fileOptions = ({ maxSeconds }: VideoSettings) =>
  words(
    '-map_metadata -1 -map_chapters -1 -fflags +bitexact -max_muxing_queue_size 4096',
    `-t ${maxSeconds + 1} -f mp4`,
  );

const words = (...lines: string[]) => lines.flatMap((line) => line.split(' '));

/** Slow presets take a multiple of the time of the whole ladder; a file contains little more than its bit rate. */
function limitsOf({ seconds }: VideoSource, { maxSeconds }: VideoSettings) {
  const duration = Math.min(seconds ?? maxSeconds, maxSeconds);
  const wallMs = Math.max(120, duration * 60) * 1_000;
  return { duration, limits: { wallMs, cpuSeconds: (wallMs / 1_000) * 8, fileBytes: 100e6 + duration * 2e6 } };
}

/** The part of the whole that a group has done, by the pixels that are encoded. */
function byWork(groups: Group[], onProgress: (share: number) => void) {
  const pixels = groups.map(({ rungs }) => rungs.reduce((sum, { width, height }) => sum + width * height, 0));
  const all = pixels.reduce((sum, some) => sum + some, 0);
  return (n: number) => {
    const before = pixels.slice(0, n).reduce((sum, some) => sum + some, 0);
    return { onProgress: (share: number) => onProgress((before + share * pixels[n]!) / all) };
  };
}

/**
 * Checks every rung before it is used. Damage of the original is judged earlier: here it would look like a failed
 * encode.
 * @throws RetryableError `output_invalid`; what Ffmpeg throws
 */
export async function checkRungs({ rungs }: Ladder, { ffmpeg, dir, signal }: LadderOptions): Promise<void> {
  for (const rung of rungs) {
    const { video } = await ffmpeg.probe(rung.path, { dir, signal });
    const [{ codec, width, height } = {}] = video;
    if (codec !== 'h264' || width !== rung.width || height !== rung.height)
      throw new RetryableError('output_invalid', `The output of ffmpeg is no ${rung.name} of H.264`);
  }
}
