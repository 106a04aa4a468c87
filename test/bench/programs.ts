import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endsWithUs } from '../support/processes.ts';
import { cpuMs } from './cpu.ts';
import type { Database } from './server.ts';

/** What a program took for all of its pictures. */
export type Run = {
  cpuMs: number;
  wallMs: number;
  /** The most memory that it held since it started. */
  peakMb: number;
};

/** The settings of worker/cli/rowmill.js, for an anchor that starts without it. */
const malloc = { MALLOC_ARENA_MAX: '2', MALLOC_MMAP_THRESHOLD_: '69632', MALLOC_TRIM_THRESHOLD_: '131072' };
const node = join(import.meta.dirname, '../../node_modules/.bin/node');
const rowmill = join(import.meta.dirname, '../../worker/cli/rowmill.js');

/** Runs a script that works through files by `workThrough` (bare.ts). */
export async function runBare(
  script: string,
  { atOnce, paths, env = {} }: { atOnce: number; paths: string[]; env?: Record<string, string> },
): Promise<Run> {
  const child = start(node, [join(import.meta.dirname, script), String(atOnce), ...paths], { ...malloc, ...env });
  await line(child, 'ready');
  const watch = await stopwatch(child);
  child.stdin!.write('go\n');
  await line(child, 'done');
  const run = await watch.stop();
  child.kill('SIGKILL');
  await once(child, 'exit');
  return run;
}

/**
 * Starts a worker of one queue, has `insert` give it a job for each key, and waits until all are completed. Before, it
 * has done one of them: the first loads sharp, once in the life of a worker.
 */
export async function runWorker(
  db: Database,
  queue: string,
  { env, keys, insert }: { env: Record<string, string>; keys: string[]; insert: (keys: string[]) => Promise<unknown> },
): Promise<Run & { idleMb: number }> {
  const child = start(node, [rowmill, 'start'], { DATABASE_URL: db.url, QUEUES: queue, PORT: '0', ...env });
  await line(child, '"listening"');
  const work = async (some: string[]) => {
    await insert(some);
    await drain(db, queue);
  };
  await work(keys.slice(0, 1));
  const watch = await stopwatch(child);
  await work(keys);
  const run = await watch.stop();
  await sleep(2_000);
  const idleMb = await heldMb(child, 'VmRSS');
  child.kill('SIGTERM');
  await once(child, 'exit');
  return { ...run, idleMb };
}

async function drain(db: Database, queue: string): Promise<void> {
  for (;;) {
    const { rows } = await db.query<{ open: boolean; failed: boolean }>(
      `select exists (select from ${queue}_jobs_live where status in ('pending', 'processing')) as open,
              exists (select from ${queue}_jobs_live where status = 'failed') as failed`,
    );
    if (rows[0]!.failed) throw new Error(`a ${queue} job of the benchmark failed`);
    if (!rows[0]!.open) return;
    await sleep(50);
  }
}

function start(command: string, args: string[], env: Record<string, string>): ChildProcess {
  return endsWithUs(
    spawn(command, args, { env: { PATH: process.env['PATH'], ...env }, stdio: ['pipe', 'pipe', 'inherit'] }),
  );
}

async function line(child: ChildProcess, word: string): Promise<void> {
  let seen = '';
  for await (const [chunk] of events(child)) {
    seen += chunk;
    if (seen.includes(word)) return;
  }
  throw new Error(`ended before it said ${word}: ${seen}`);
}

async function* events(child: ChildProcess): AsyncGenerator<[string]> {
  for (;;) {
    const chunk = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) return;
    yield [String(chunk[0])];
  }
}

async function stopwatch(child: ChildProcess): Promise<{ stop(): Promise<Run> }> {
  const started = performance.now();
  const before = await cpuMs(child.pid!);
  return {
    async stop() {
      return {
        cpuMs: (await cpuMs(child.pid!)) - before,
        wallMs: performance.now() - started,
        peakMb: await heldMb(child, 'VmHWM'),
      };
    },
  };
}

/** Memory of a process now (VmRSS) or the most since it started (VmHWM); 0 when it has ended. proc(5) */
export async function heldMb({ pid }: ChildProcess, what: 'VmRSS' | 'VmHWM'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024;
}
