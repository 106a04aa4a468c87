import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { surroundedBy } from '../../worker/base/surroundings.ts';
import { run } from '../../worker/cli/program.ts';

const rowmill = join(import.meta.dirname, '../../worker/cli/rowmill.js');

export type Run = { code: number | null; stdout: string; stderr: string };
type Options = { env?: Record<string, string>; cwd?: string };

// Colours are for terminals, whatever this process was told.
delete process.env['FORCE_COLOR'];

/** The environment of a command: nothing but what is given, and what it needs to find programs. */
const environment = (env: Record<string, string>) => ({
  PATH: process.env['PATH'],
  HOME: process.env['HOME'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
  ...env,
});

/**
 * Runs a command in this process: one of its own costs 0.4 s of CPU.
 * `start` and `demo` need one, and so does what is about signals.
 */
export async function runRowmill(args: string[], { env = {}, cwd = tmpdir() }: Options = {}): Promise<Run> {
  const [stdout, stderr] = [new PassThrough(), new PassThrough()];
  const given = { ...environment({ DATA_DIR: join(cwd, '.data'), ...env }) };
  const said = Promise.all([text(stdout), text(stderr)]);
  const code = await surroundedBy({ env: given, stdout, stderr }, () => run(args));
  stdout.end();
  stderr.end();
  const [out, errors] = await said;
  return { code, stdout: out, stderr: errors };
}

/** Runs the real command line in a process of its own. */
export function rowmillStarted(args: string[], { env = {}, cwd = tmpdir() }: Options = {}) {
  const child = spawn(process.execPath, [rowmill, ...args], {
    cwd,
    env: environment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = Promise.all([
    new Promise<number | null>((resolve) => child.once('close', resolve)),
    text(child.stdout),
    text(child.stderr),
  ]).then(([code, stdout, stderr]): Run => ({ code, stdout, stderr }));
  return { child, ended };
}
