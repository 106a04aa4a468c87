import { availableParallelism } from 'node:os';
import { PermanentError, RetryableError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { confine, createDetector, type Capabilities, type Detector } from './capabilities.ts';
import { probeFault, runFault, wordsOf } from './faults.ts';
import type { FfmpegConfig } from './find.ts';
import { collect, runProcess, type Exit, type Limits } from './process.ts';
import { createPacketCounter, packetOptions, type Packets } from './packets.ts';
import { entries, readProbe, type Probe } from './probe.ts';

/**
 * The one place that runs ffmpeg and ffprobe, for untrusted files. Each input goes through a whitelist of formats and
 * protocols. Each run has its own process group, limits, an empty environment, and no network if the system can take it
 * away.
 */
export type Ffmpeg = {
  /** What is installed, looked up at first use. @throws RetryableError as createDetector does */
  capabilities(): Promise<Capabilities>;

  /**
   * What a media file contains.
   * @throws PermanentError `not_media`, `media_corrupt`, `unsupported_codec`, `ffmpeg_too_old`; RetryableError as `run`
   *   does; the signal's reason
   */
  probe(path: string, options: { dir: string; signal: AbortSignal; formats?: string }): Promise<Probe>;

  /**
   * Counts the packets of one stream. It reads the file to its end, or to `maxSeconds` of that stream.
   * @throws as `probe` does
   */
  packets(
    path: string,
    options: { index: number; maxSeconds?: number; dir: string; signal: AbortSignal },
  ): Promise<Packets>;

  /**
   * Runs ffmpeg to its end: it has succeeded, or this throws. When it throws, the process is already gone.
   * @throws PermanentError `media_corrupt`, `unsupported_codec`, `output_too_large`, `ffmpeg_too_old`;
   *   RetryableError `ffmpeg_timeout`, `ffmpeg_killed`, `ffmpeg_crashed`, `disk_full`, `out_of_memory`,
   *   `ffmpeg_missing`, `ffmpeg_not_started`; the signal's reason
   */
  run(task: Task, options: RunOptions): Promise<Run>;
};

/** Paths are absolute, of files in the folder of the run or below. The caller must escape file names inside options. */
export type Task = {
  inputs: Input[];
  /** A filter graph over all inputs. */
  filter?: string;
  /** A path, or `pipe:1` for `onOutput`. */
  outputs: { path: string; options: string[] }[];
};

/** `formats`: the demuxers for a file that we made ourselves, instead of those for untrusted files. */
export type Input = { path: string; options?: string[]; formats?: string };

export type RunOptions = {
  /** The only folder that it needs; with bwrap, the only one that it sees. Absolute, without symbolic links. */
  dir: string;
  signal: AbortSignal;
  /** The length in seconds that is 100 %; without it there is no progress. */
  duration?: number;
  /** Called twice a second, which is ffmpeg's own rate, with the part that is done, 0 to 1. */
  onProgress?: (share: number) => void;
  onOutput?: (chunk: Buffer) => void | Promise<void>;
  limits?: Partial<Limits & { wallMs: number }>;
  /** For long encodes: leaves the cores to other runs. */
  background?: boolean;
};

/** `stderr`: the errors that it printed although it succeeded. */
type Run = { stderr: string };

/**
 * Demuxers that read one file and nothing else: no playlists, no scripts, no image sequences. A playlist named .mp4
 * could otherwise make ffmpeg read other files. `mov` is also mp4, m4a, 3gp; `matroska` also webm.
 */
const safeFormats = 'mov,matroska,avi,mpegts,mpeg,ogg,wav,mp3,flac,aac,amr,amrnb,amrwb,flv,asf,caf,aiff,w64,webm';
const guard = ['-protocol_whitelist', 'file,pipe', '-format_whitelist'];
/** The most pixels of a frame that is decoded: 8192 x 8192. */
const maxPixels = '67108864';

/** @param detector finds out what ffmpeg can do; default: at first use */
export function createFfmpeg(
  config: FfmpegConfig,
  log?: Log,
  { capabilities, detectAgain }: Detector = createDetector(config, log),
): Ffmpeg {
  const programs: Programs = {
    capabilities,
    failed(fault, exit, dir) {
      if (fault.code === 'ffmpeg_missing' || fault.code === 'ffmpeg_not_started') detectAgain();
      if (fault instanceof PermanentError) {
        const words = wordsOf(exit, dir);
        log?.info({ error_code: fault.code, words }, 'what ffmpeg said of a file that it cannot read');
      }
      return fault;
    },
  };

  return {
    capabilities,

    async probe(path, options) {
      const output = collect(4_000_000);
      const asked = ['-print_format', 'json', '-show_entries', entries];
      await runProbe(programs, path, asked, { ...options, limits: probeLimits, onOutput: output.add });
      return readProbe(output.text());
    },

    async packets(path, { index, maxSeconds = Infinity, ...options }) {
      const counter = createPacketCounter();
      const onOutput = (chunk: Buffer) => {
        counter.add(chunk);
        if (counter.packets().held > maxSeconds) throw new Enough();
      };
      const asked = ['-select_streams', String(index), ...packetOptions];
      const counting = runProbe(programs, path, asked, { ...options, limits: packetLimits, onOutput });
      await counting.catch((error: unknown) => {
        if (!(error instanceof Enough)) throw error;
      });
      return counter.packets();
    },

    run: (task, options) => runFfmpeg(programs, task, options),
  };
}

type Programs = Pick<Ffmpeg, 'capabilities'> & {
  /** Logs ffmpeg's own messages, which go nowhere else: they may quote the file. @returns the fault */
  failed<Fault extends Error & { code: string }>(fault: Fault, exit: Exit, dir: string): Fault;
};

/** Runs ffprobe on a file, and passes on what it writes. */
async function runProbe(
  { capabilities, failed }: Programs,
  path: string,
  options: string[],
  { dir, signal, formats = safeFormats, limits, onOutput }: ProbeRunOptions,
): Promise<void> {
  const tool = await capabilities();
  const { programs, sandbox } = tool;
  // An unknown codec is only a warning.
  const args = ['-v', 'warning', ...guard, formats, ...options, '-i', path];
  const exit = await inTime(limits.wallMs, signal, (ending) =>
    runProcess(command([...confine(sandbox, programs, dir), programs.ffprobe.path, ...args]), {
      cwd: dir,
      limits,
      signal: ending,
      onOutput,
    }),
  );
  if (exit.code !== 0) throw failed(probeFault(exit, tool, limits.cpuSeconds), exit, dir);
}

async function runFfmpeg({ capabilities, failed }: Programs, task: Task, options: RunOptions): Promise<Run> {
  const tool = await capabilities();
  const { programs, sandbox } = tool;
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
  const fault = runFault(exit, tool);
  if (fault) throw failed(fault, exit, dir);
  return { stderr: exit.stderr };
}

type ProbeRunOptions = {
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

/** fluent-ffmpeg only builds the arguments: it is archived, and its way of running programs is not safe. */
async function argumentsOf({ inputs, filter, outputs }: Task): Promise<string[]> {
  const { default: buildCommand } = await import('fluent-ffmpeg');
  const build = buildCommand();
  for (const { path, options = [], formats = safeFormats } of inputs)
    build.input(path).inputOptions(...guard, formats, '-max_pixels', maxPixels, ...options);
  if (filter) build.complexFilter(filter);
  for (const { path, options } of outputs) {
    build.output(path);
    // For no options, it would create one named "undefined".
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
  // Timers take at most 24 days.
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

// In spite of its name, out_time_ms is in microseconds. https://ffmpeg.org/ffmpeg.html#Main-options
function report(line: string, duration: number, onProgress: (share: number) => void): void {
  const [key, value] = line.split('=');
  if (key === 'out_time_ms') {
    const seconds = Number(value) / 1e6;
    if (seconds >= 0) onProgress(Math.min(seconds / duration, 0.99));
  }
}
