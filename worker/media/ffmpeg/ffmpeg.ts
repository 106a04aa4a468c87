import { availableParallelism } from 'node:os';
import { PermanentError, RetryableError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { confine, createLookout, type Capabilities, type Lookout } from './capabilities.ts';
import { probeFault, runFault, wordsOf } from './faults.ts';
import type { FfmpegConfig } from './find.ts';
import { collect, runProcess, type Exit, type Limits } from './process.ts';
import { createPacketCounter, packetOptions, type Packets } from './packets.ts';
import { entries, readProbe, type Probe } from './probe.ts';

/**
 * The one door to ffmpeg and ffprobe, for files that nobody trusts. Each input goes through a whitelist of formats and protocols, each
 * run has its own process group, limits, an empty environment, and no network where the system can take it away.
 */
export type Ffmpeg = {
  /** What is installed, looked up at first use. @throws RetryableError as createLookout says */
  capabilities(): Promise<Capabilities>;

  /**
   * What a media file holds.
   * @throws PermanentError `not_media`, `media_corrupt`, `unsupported_codec`; RetryableError as `run` does; the signal's reason
   */
  probe(path: string, options: { dir: string; signal: AbortSignal; formats?: string }): Promise<Probe>;

  /**
   * Counts the packets of one stream. That reads the file to its end, or until there are more than `maxSeconds` of it.
   * @throws as `probe` does
   */
  packets(
    path: string,
    options: { index: number; maxSeconds?: number; dir: string; signal: AbortSignal },
  ): Promise<Packets>;

  /**
   * Runs ffmpeg to its end: it has succeeded, or this throws. When it throws the process is gone already.
   * @throws PermanentError `media_corrupt`, `unsupported_codec`, `output_too_large`; RetryableError `ffmpeg_timeout`, `ffmpeg_killed`, `ffmpeg_crashed`,
   *   `disk_full`, `out_of_memory`, `ffmpeg_missing`, `ffmpeg_not_started`; the signal's reason
   */
  run(task: Task, options: RunOptions): Promise<Run>;
};

/** Paths are absolute, and of files directly in the folder of the run or below. Options that contain file names are the caller's to get right. */
export type Task = {
  inputs: Input[];
  /** A filter graph over all inputs. */
  filter?: string;
  /** A path, or `pipe:1` for `onOutput`. */
  outputs: { path: string; options: string[] }[];
};

/** `formats`: demuxers to take in place of those for files that nobody trusts, for a file of our own making. */
export type Input = { path: string; options?: string[]; formats?: string };

export type RunOptions = {
  /** The only folder that it needs; where there is bwrap, the only one that it has. Absolute, without symbolic links. */
  dir: string;
  signal: AbortSignal;
  /** Seconds of media that are 100 %; without it there is no progress. */
  duration?: number;
  /** Called twice a second, which is ffmpeg's own pace, with the share that is done, 0 to 1. */
  onProgress?: (share: number) => void;
  onOutput?: (chunk: Buffer) => void | Promise<void>;
  limits?: Partial<Limits & { wallMs: number }>;
  /** It leaves the cores to other runs: for what takes long. */
  background?: boolean;
};

/** `stderr`: what it complained about though it succeeded, at level error. */
type Run = { stderr: string };

/**
 * Demuxers that read a file and nothing beside it: no playlists, no scripts, no images by pattern. A playlist named .mp4 would otherwise
 * have ffmpeg read other files. `mov` is also mp4, m4a, 3gp; `matroska` also webm.
 */
const safeFormats = 'mov,matroska,avi,mpegts,mpeg,ogg,wav,mp3,flac,aac,amr,amrnb,amrwb,flv,asf,caf,aiff,w64,webm';
const guard = ['-protocol_whitelist', 'file,pipe', '-format_whitelist'];
/** The most pixels of a frame that is decoded: 8192 x 8192. */
const maxPixels = '67108864';

/** @param lookout who says what is installed; default: it is looked up at first use */
export function createFfmpeg(
  config: FfmpegConfig,
  log?: Log,
  { capabilities, lookAgain }: Lookout = createLookout(config, log),
): Ffmpeg {
  /** Its own words are for the log alone: they may quote the file. */
  const told = (fault: Error & { code: string }, exit: Exit, dir: string) => {
    if (fault.code === 'ffmpeg_missing' || fault.code === 'ffmpeg_not_started') lookAgain();
    if (fault instanceof PermanentError)
      log?.info(
        { error_code: fault.code, words: wordsOf(exit, dir) },
        'what ffmpeg said of a file that it cannot read',
      );
    return fault;
  };

  /** Has ffprobe look into a file, and hand on what it writes. */
  async function look(
    path: string,
    options: string[],
    { dir, signal, formats = safeFormats, limits, onOutput }: LookOptions,
  ): Promise<void> {
    const { programs, sandbox, version } = await capabilities();
    // That a codec is not known is no more than a warning.
    const args = ['-v', 'warning', ...guard, formats, ...options, '-i', path];
    const exit = await inTime(limits.wallMs, signal, (ending) =>
      runProcess(command([...confine(sandbox, programs, dir), programs.ffprobe.path, ...args]), {
        cwd: dir,
        limits,
        signal: ending,
        onOutput,
      }),
    );
    if (exit.code !== 0) throw told(probeFault(exit, version, limits.cpuSeconds), exit, dir);
  }

  return {
    capabilities,

    async probe(path, options) {
      const output = collect(4_000_000);
      const asked = ['-print_format', 'json', '-show_entries', entries];
      await look(path, asked, { ...options, limits: probeLimits, onOutput: output.add });
      return readProbe(output.text());
    },

    async packets(path, { index, maxSeconds = Infinity, ...options }) {
      const counter = createPacketCounter();
      const onOutput = (chunk: Buffer) => {
        counter.add(chunk);
        if (counter.packets().held > maxSeconds) throw new Enough();
      };
      const asked = ['-select_streams', String(index), ...packetOptions];
      await look(path, asked, { ...options, limits: packetLimits, onOutput }).catch((error: unknown) => {
        if (!(error instanceof Enough)) throw error;
      });
      return counter.packets();
    },

    async run(task, options) {
      const { programs, sandbox, version } = await capabilities();
      const { dir, signal, duration, onProgress, onOutput, background } = options;
      const limits = { ...defaultLimits(duration), ...options.limits };
      const args = ['-hide_banner', '-nostdin', '-nostats', '-v', 'error'];
      if (onProgress) args.push('-progress', 'pipe:3');
      args.push(...(await argumentsOf(task)));
      const nice = ['nice', '-n', background ? '19' : '10'];
      const exit = await inTime(limits.wallMs, signal, (ending) =>
        runProcess(command([...nice, ...confine(sandbox, programs, dir), programs.ffmpeg.path, ...args]), {
          cwd: dir,
          limits,
          signal: ending,
          ...(onOutput ? { onOutput } : {}),
          ...(onProgress && duration ? { onReport: (line) => report(line, duration, onProgress) } : {}),
        }),
      );
      const fault = runFault(exit, version);
      if (fault) throw told(fault, exit, dir);
      return { stderr: exit.stderr };
    },
  };
}

type LookOptions = {
  dir: string;
  signal: AbortSignal;
  formats?: string;
  limits: Limits & { wallMs: number };
  onOutput: (chunk: Buffer) => void;
};

const probeLimits = { wallMs: 120_000, cpuSeconds: 20, fileBytes: 1_000_000, memoryBytes: 1.5e9 };
/** A file of many hours is read through in seconds, from a slow disk in minutes. */
const packetLimits = { ...probeLimits, wallMs: 1_200_000, cpuSeconds: 300 };

class Enough extends Error {}

const command = (words: string[]) => words as [string, ...string[]];

/** fluent-ffmpeg builds the arguments and nothing else: it is archived, and its way of running programs is not safe. */
async function argumentsOf({ inputs, filter, outputs }: Task): Promise<string[]> {
  const { default: buildCommand } = await import('fluent-ffmpeg');
  const build = buildCommand();
  for (const { path, options = [], formats = safeFormats } of inputs)
    build.input(path).inputOptions(...guard, formats, '-max_pixels', maxPixels, ...options);
  if (filter) build.complexFilter(filter);
  for (const { path, options } of outputs) {
    build.output(path);
    // Of no options it would make one, "undefined".
    if (options.length > 0) build.outputOptions(...options);
  }
  return (build as unknown as Record<'_getArguments', () => string[]>)['_getArguments']();
}

function defaultLimits(duration = 60): Limits & { wallMs: number } {
  const seconds = Math.min(Math.max(60, duration * 20), 86_400);
  return { wallMs: seconds * 1_000, cpuSeconds: seconds * availableParallelism(), fileBytes: 8e9, memoryBytes: 6e9 };
}

/** @throws the signal's reason, RetryableError `ffmpeg_timeout`, `ffmpeg_not_started`; what `work` throws */
async function inTime<T>(wallMs: number, signal: AbortSignal, work: (ending: AbortSignal) => Promise<T>): Promise<T> {
  // Timers know no more than 24 days.
  const deadline = AbortSignal.timeout(Math.min(Math.ceil(wallMs), 2 ** 31 - 1));
  try {
    const result = await work(AbortSignal.any([signal, deadline]));
    signal.throwIfAborted();
    deadline.throwIfAborted();
    return result;
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted)
      throw new RetryableError('ffmpeg_timeout', `ffmpeg took longer than ${Math.round(wallMs / 1_000)} s`);
    if (isSpawnError(error))
      throw new RetryableError('ffmpeg_not_started', `ffmpeg could not be started: ${error.code}`, { cause: error });
    throw error;
  }
}

const isSpawnError = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && 'syscall' in error && String(error.syscall).startsWith('spawn');

// Whatever its name says, out_time_ms is in microseconds. https://ffmpeg.org/ffmpeg.html#Main-options
function report(line: string, duration: number, onProgress: (share: number) => void): void {
  const [key, value] = line.split('=');
  if (key === 'out_time_ms') {
    const seconds = Number(value) / 1e6;
    if (seconds >= 0) onProgress(Math.min(seconds / duration, 0.99));
  }
}
