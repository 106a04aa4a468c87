import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';

/**
 * Runs a program in a process group of its own, which is killed as a whole: on request, or when this process dies,
 * however it dies. A shell sets the limits and starts the program, and beside it a guard that waits for the end of a
 * pipe that only this process holds open. The shell reaps both, because a worker that is process 1 of a container would
 * not. A limit that is already lower stays. If memory runs out, the kernel is to kill the program and not the worker.
 */
const script = `
{
  ulimit -c 0; ulimit -S -t "$1"; ulimit -H -t "$2"; ulimit -f "$3"; ulimit -d "$4"
  echo 1000 >/proc/self/oom_score_adj
} 2>/dev/null
shift 4
"$@" 4<&- &
program=$!
{ read -r _ <&4; kill -KILL 0; } >/dev/null 2>&1 3>&- &
guard=$!
exec 3>&- 4<&-
wait "$program"
code=$?
{ kill -KILL "$guard"; wait "$guard"; } >/dev/null 2>&1
exit "$code"
`;

export type Limits = {
  /** Seconds of CPU time. */
  cpuSeconds: number;
  /** The size of a file that it writes. */
  fileBytes: number;
  /** Memory that it writes to; memory that it only reserves does not count. */
  memoryBytes: number;
};

export type Exit = {
  /** The exit code; for a program ended by a signal, 128 plus the signal's number. */
  code: number;
  /** The end of what it wrote to stderr. */
  stderr: string;
};

export type ProcessOptions = {
  cwd: string;
  limits: Limits;
  /** Kills it. */
  signal: AbortSignal;
  /** Gets what it writes to stdout. It is awaited, so that a slow reader slows the program down. */
  onOutput?: (chunk: Buffer) => void | Promise<void>;
  /** Gets the lines that it writes to file descriptor 3. */
  onReport?: (line: string) => void;
};

const stderrKept = 8_192;

/**
 * Runs a program to its end, with an environment that contains nothing of ours. When this settles, the program is gone.
 * @throws what `onOutput` throws; the system's error if not even the shell can be started
 */
export async function runProcess(command: [string, ...string[]], options: ProcessOptions): Promise<Exit> {
  const { cwd, limits, signal, onOutput, onReport } = options;
  signal.throwIfAborted();
  const child = spawn('/bin/sh', ['-c', script, 'sh', ...limitsOf(limits), ...command], {
    cwd,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', HOME: cwd, TMPDIR: cwd, MALLOC_ARENA_MAX: '2' },
  });
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, by) => resolve(code ?? 128 + (by ? constants.signals[by] : 0)));
  });
  const { pid } = child;
  // Then it has no streams either.
  if (pid === undefined) return { code: await ended, stderr: '' };

  const [, stdout, stderr, reports, guard] = child.stdio as [null, Readable, Readable, Readable, Writable];
  guard.on('error', () => {});
  const kill = () => {
    // The pid of a process that has ended may be another process's by now.
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGKILL');
  };
  signal.addEventListener('abort', kill, { once: true });
  try {
    const parts = [
      // If only the shell was killed, the guard ends the rest.
      ended.finally(() => guard.destroy()),
      tail(stderr),
      deliver(stdout, onOutput),
      lines(reports, onReport),
    ] as const;
    for (const part of parts) void part.catch(kill);
    await Promise.allSettled(parts);
    const [code, said] = await Promise.all(parts);
    return { code, stderr: said };
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** In the units of ulimit. At the first limit of CPU time the program gets a signal, soon after that it is killed. */
function limitsOf({ cpuSeconds, fileBytes, memoryBytes }: Limits): string[] {
  const seconds = Math.ceil(cpuSeconds);
  return [seconds, seconds + 2, Math.ceil(fileBytes / 512), Math.ceil(memoryBytes / 1024)].map(String);
}

async function deliver(stdout: Readable, onOutput: ProcessOptions['onOutput']): Promise<void> {
  for await (const chunk of stdout) await onOutput?.(chunk as Buffer);
}

async function tail(stderr: Readable): Promise<string> {
  let kept = Buffer.alloc(0);
  for await (const chunk of stderr) kept = Buffer.concat([kept, chunk as Buffer]).subarray(-stderrKept);
  return kept.toString();
}

async function lines(reports: Readable, onReport: ProcessOptions['onReport']): Promise<void> {
  let rest = '';
  for await (const chunk of reports.setEncoding('utf8')) {
    const parts = (rest + (chunk as string)).split('\n');
    rest = parts.pop()!;
    for (const line of parts) onReport?.(line);
  }
}

/** All that a program writes to stdout. @throws RangeError if it is more than `maxBytes` */
export async function outputOf(
  command: [string, ...string[]],
  { maxBytes, ...options }: Omit<ProcessOptions, 'onOutput'> & { maxBytes: number },
): Promise<Exit & { stdout: string }> {
  const output = collect(maxBytes);
  const exit = await runProcess(command, { ...options, onOutput: output.add });
  return { ...exit, stdout: output.text() };
}

/** Keeps what a program writes. `add` throws RangeError if it is more than `maxBytes`. */
export function collect(maxBytes: number) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  return {
    add(chunk: Buffer): void {
      bytes += chunk.length;
      if (bytes > maxBytes) throw new RangeError(`it wrote more than ${maxBytes} bytes`);
      chunks.push(chunk);
    },
    text: () => Buffer.concat(chunks).toString(),
  };
}
