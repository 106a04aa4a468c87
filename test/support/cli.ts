import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

const rowmill = join(import.meta.dirname, '../../worker/cli/rowmill');

export type Run = { code: number | null; stdout: string; stderr: string };
type Options = { env?: Record<string, string>; cwd?: string };

/** Runs the real command line in a process of its own, with nothing in its environment but what is given. */
export function rowmillStarted(args: string[], { env = {}, cwd = tmpdir() }: Options = {}) {
  const child = spawn(rowmill, args, {
    cwd,
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.all([
    new Promise<number | null>((resolve) => child.once('close', resolve)),
    text(child.stdout),
    text(child.stderr),
  ]).then(([code, stdout, stderr]): Run => ({ code, stdout, stderr }));
  return { child, ended };
}

export const runRowmill = (args: string[], options?: Options): Promise<Run> => rowmillStarted(args, options).ended;
