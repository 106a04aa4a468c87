import { setTimeout as sleep } from 'node:timers/promises';
import { openSync } from 'node:fs';
import { runProcess } from '../../worker/media/ffmpeg/process.ts';

// A process with a program of its own, which tests kill, freeze, and starve. Started by ffmpeg-process.test.ts; prints
// what came of it.

const [mode, ...command] = process.argv.slice(2) as ['run' | 'without files', string, ...string[]];
if (mode === 'without files') {
  // All that may be opened but two, which are not enough for pipes.
  const opened: number[] = [];
  try {
    for (;;) opened.push(openSync('/dev/null', 'r'));
  } catch {
    // None is left.
  }
}
const limits = { cpuSeconds: 60, fileBytes: 1e9, memoryBytes: 4e9 };
const { signal } = new AbortController();
const said = await runProcess(command, { cwd: process.cwd(), limits, signal }).then(
  ({ code, stderr }) => `exit ${code} ${stderr}`,
  (error: NodeJS.ErrnoException) => `error ${error.code}`,
);
await sleep(50);
process.stdout.write(said);
