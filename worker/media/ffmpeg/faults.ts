import { constants } from 'node:os';
import { DeploymentError, PermanentError, RetryableError } from '../../base/errors.ts';
import type { Exit } from './process.ts';

/** What an exit of ffmpeg or ffprobe means: the file's fault, or the machine's, which may pass. */
type Fault = PermanentError | RetryableError | DeploymentError;

export function probeFault(exit: Exit, dir: string, cpuSeconds: number): Fault {
  if (exit.code === signalled('SIGXCPU'))
    return new PermanentError('media_corrupt', `The file could not be looked through in ${cpuSeconds} s`);
  const fault = machineFault(exit);
  // A true file needs a tenth of it. It is also how ffprobe says that there are more than a thousand streams.
  if (fault?.code === 'out_of_memory')
    return new PermanentError('media_corrupt', 'The file would take too much memory to be looked through');
  return fault ?? new PermanentError('not_media', `The file cannot be read as video or audio: ${complaint(exit, dir)}`);
}

/** It says that it succeeded also when the end of a file could not be written, with what it keeps in memory for that. */
export function runFault(exit: Exit, dir: string): Fault | undefined {
  if (exit.code === signalled('SIGXFSZ'))
    return new PermanentError('output_too_large', 'What ffmpeg wrote became too large');
  const fault = machineFault(exit);
  if (fault || exit.code === 0) return fault;
  return new PermanentError('media_corrupt', `ffmpeg could not read the file to its end: ${complaint(exit, dir)}`);
}

const signalled = (name: NodeJS.Signals) => 128 + constants.signals[name];
const crashes = ['SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGILL'] as const;

/** What is the machine's fault and not the file's, and may pass. Codes above the signals' are errors of ffmpeg 7's own. */
export function machineFault({ code, stderr }: Exit): RetryableError | DeploymentError | undefined {
  if (/No space left on device|Disk quota exceeded/.test(stderr))
    return new DeploymentError('temp_space', 'disk_full', 'The disk of the temporary files is full');
  // Frames that it had no memory for it leaves out, and goes on.
  if (/decoding stream .*: Cannot allocate memory|malloc of size \d+ failed/.test(stderr)) return noMemory();
  if (code === 0) return undefined;
  if (/(Cannot|Could not) allocate memory|Resource temporarily unavailable/.test(stderr)) return noMemory();
  if (/^(bwrap|unshare): .*(execvp|Can't find source path|failed to execute)/m.test(stderr)) return noProgram();
  if (/^(bwrap|unshare): /m.test(stderr))
    return new RetryableError('ffmpeg_not_started', 'The sandbox of ffmpeg could not be made');
  if (/Unknown encoder '|No such filter: '|Requested output format '.*' is not a suitable/.test(stderr))
    return new DeploymentError('ffmpeg', 'ffmpeg_incomplete', 'ffmpeg lacks what is needed: rowmill doctor says what');
  if (code === 126 || code === 127) return noProgram();
  const crash = crashes.find((name) => code === signalled(name));
  if (crash) return new RetryableError('ffmpeg_crashed', `ffmpeg crashed: ${crash}`);
  if (code === signalled('SIGKILL'))
    return new RetryableError('ffmpeg_killed', 'ffmpeg was killed: no memory was left, or no CPU time');
  // It ends with these, of its own will, when it is told to by SIGTERM, or by SIGXCPU at the limit of CPU time.
  if ((code > 128 && code < 160) || code === 255 || code === 123)
    return new RetryableError('ffmpeg_killed', 'ffmpeg was told to end, or had used up its CPU time');
  return undefined;
}

const noProgram = () => new DeploymentError('ffmpeg', 'ffmpeg_missing', 'ffmpeg could not be started');
const noMemory = () => new RetryableError('out_of_memory', 'ffmpeg was given no more memory');

/** The last of its words, without paths and addresses of memory. */
function complaint({ stderr, code }: Exit, dir: string): string {
  if (stderr.includes('not on whitelist')) return 'its format is none that is taken';
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
