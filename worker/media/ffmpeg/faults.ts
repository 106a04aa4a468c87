import { constants } from 'node:os';
import { DeploymentError, PermanentError, RetryableError } from '../../base/errors.ts';
import { isOld, tooOld } from './age.ts';
import type { Exit } from './process.ts';

/** What an exit of ffmpeg or ffprobe means: a fault of the file, or of the machine, which may pass. */
type Fault = PermanentError | RetryableError | DeploymentError;

/** The ffmpeg that ended: its version, and the major version of its libavcodec. */
type Tool = { version: string; libavcodec: number };

export function probeFault(exit: Exit, tool: Tool, cpuSeconds: number): Fault {
  if (exit.code === signalled('SIGXCPU'))
    return new PermanentError('media_corrupt', `ffprobe could not read the file in ${cpuSeconds} s of CPU time`);
  const fault = processFault(exit, tool);
  // A valid file needs a tenth of it. ffprobe also ends like this if there are more than a thousand streams.
  if (fault?.code === 'out_of_memory')
    return new PermanentError('media_corrupt', 'ffprobe needs too much memory for this file');
  if (fault) return fault;
  if (exit.stderr.includes('not on whitelist'))
    return new PermanentError('not_media', 'The file cannot be read as video or audio: its format is not accepted');
  return codecFault(exit, tool) ?? new PermanentError('not_media', 'The file cannot be read as video or audio');
}

/**
 * ffmpeg reports success even if the end of a file could not be written, with the data that it keeps in memory until
 * then.
 */
export function runFault(exit: Exit, tool: Tool): Fault | undefined {
  if (exit.code === signalled('SIGXFSZ'))
    return new PermanentError('output_too_large', "ffmpeg's output became too large");
  const fault = processFault(exit, tool);
  if (fault || exit.code === 0) return fault;
  if (exit.stderr.includes('not on whitelist'))
    return new PermanentError('media_corrupt', 'ffmpeg could not read the file: its format is not accepted');
  return (
    codecFault(exit, tool) ??
    new PermanentError('media_corrupt', 'The file is damaged: ffmpeg could not read it to its end')
  );
}

/** A codec, or a part of one, that this ffmpeg cannot decode, according to its message. */
function codecFault({ stderr }: Exit, { version }: Tool): PermanentError | undefined {
  const by = `ffmpeg ${version} cannot decode`;
  const codec = /no decoder found for: (\w+)|Decoder \(codec (\w+)\) not found/.exec(stderr);
  if (codec) return new PermanentError('unsupported_codec', `${by} ${codec[1] ?? codec[2]}`);
  // MPEG-D USAC. ISO/IEC 14496-3, table 1.17
  if (/Audio object type 42/.test(stderr)) return new PermanentError('unsupported_codec', `${by} xHE-AAC`);
  const part = /\[(\w+) @ \w+\].* is not (yet )?implemented/.exec(stderr);
  return part ? new PermanentError('unsupported_codec', `${by} this kind of ${part[1]}`) : undefined;
}

const signalled = (name: NodeJS.Signals) => 128 + constants.signals[name];
/** The exit code of ffmpeg 7 for an error of the system: AVERROR in a byte. */
const failedBy = (name: 'ENOMEM' | 'ENOSPC' | 'EDQUOT') => 256 - constants.errno[name];
const crashes = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL'] as const;

/** An old ffmpeg crashes at the same file each time: npm's ffprobe does at most MPEG-TS. */
function processFault(exit: Exit, tool: Tool): Fault | undefined {
  const fault = machineFault(exit);
  const isAged = fault?.code === 'ffmpeg_crashed' && isOld(tool);
  return isAged ? tooOld(`with this file, ffmpeg ${tool.version} crashes`) : fault;
}

/** A fault of the machine and not of the file, which may pass. Codes above those of signals are errors of ffmpeg 7. */
export function machineFault({ code, stderr }: Exit): RetryableError | DeploymentError | undefined {
  const isFull = /No space left on device|Disk quota exceeded/.test(stderr);
  if (isFull || code === failedBy('ENOSPC') || code === failedBy('EDQUOT'))
    return new DeploymentError('temp_space', 'disk_full', 'The disk of the temporary files is full');
  // It leaves out frames for which it had no memory, and goes on.
  if (/decoding stream .*: Cannot allocate memory|malloc of size \d+ failed/.test(stderr)) return noMemory();
  // It had no memory for a frame. It says so too where the size of a frame is not accepted, which is damage.
  if (/get_buffer\(\) failed/.test(stderr) && !/Picture size|image parameters invalid|finish_setup/.test(stderr))
    return noMemory();
  if (code === 0) return undefined;
  if (code === failedBy('ENOMEM') || /(Cannot|Could not) allocate memory|Resource temporarily unavailable/.test(stderr))
    return noMemory();
  if (/^(bwrap|unshare): .*(execvp|Can't find source path|failed to execute)/m.test(stderr)) return noProgram();
  if (/^(bwrap|unshare): /m.test(stderr))
    return new RetryableError('ffmpeg_not_started', 'The sandbox of ffmpeg could not be created');
  if (/Unknown encoder '|No such filter: '|Requested output format '.*' is not a suitable/.test(stderr))
    return new DeploymentError('ffmpeg', 'ffmpeg_incomplete', 'ffmpeg lacks what is needed: rowmill doctor says what');
  if (code === 126 || code === 127) return noProgram();
  const crash = crashes.find((name) => code === signalled(name));
  if (crash) return new RetryableError('ffmpeg_crashed', `ffmpeg crashed: ${crash}`);
  if (code === signalled('SIGKILL'))
    return new RetryableError(
      'ffmpeg_killed',
      'ffmpeg was killed: the memory of the machine, or its CPU time, was used up',
    );
  // It ends itself with these codes after SIGTERM, or after SIGXCPU at the limit of CPU time.
  if ((code > 128 && code < 160) || code === 255 || code === 123)
    return new RetryableError('ffmpeg_killed', 'ffmpeg got a signal to end, or had used up its CPU time');
  return undefined;
}

const noProgram = () => new DeploymentError('ffmpeg', 'ffmpeg_missing', 'ffmpeg could not be started');
const noMemory = () => new RetryableError('out_of_memory', 'ffmpeg got no more memory from the system');

/** The last of what it wrote to stderr, without paths and memory addresses. */
export function wordsOf({ stderr, code }: Exit, dir: string): string {
  const last = stderr
    .trim()
    .split('\n')
    .findLast((line) => !/^ *(Last message repeated|Error marking filters|Conversion failed)/.test(line));
  const plain = (last ?? '')
    .replace(/^(\[[^\]]* @ 0x[0-9a-f]+\] *)+/, '')
    .replaceAll(dir, '')
    .replace(/(file:)?\/\S*/g, '')
    // oxlint-disable-next-line no-control-regex -- what ffmpeg quotes of the file
    .replace(/[\x00-\x1f\x7f]+/g, ' ')
    .trim();
  return plain.slice(0, 300) || `exit code ${code}`;
}
