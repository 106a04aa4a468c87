import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ffmpeg, Task } from '../../../worker/media/ffmpeg/ffmpeg.ts';
import type { Footage } from '../../support/footage.ts';
import { endsWithUs } from '../../support/processes.ts';
import { wallMs } from '../clock.ts';
import { heldMb } from '../programs.ts';
import { median } from '../result.ts';

type Work = (path: string, means: { ffmpeg: Ffmpeg; dir: string; signal: AbortSignal }) => Promise<unknown>;

/**
 * What a job does between download and upload, and as its anchors the first ffmpeg that it ran, by hand: its first file
 * alone; and `same`, all that it made.
 */
export async function besideHand(footage: Footage, source: string, work: Work) {
  const dir = await footage.folder();
  const path = join(dir, 'original');
  await copyFile(source, path);
  const tasks: Task[] = [];
  const run: Ffmpeg['run'] = (task, options) => {
    tasks.push(task);
    return footage.ffmpeg.run(task, options);
  };
  const means = { ffmpeg: { ...footage.ffmpeg, run }, dir, signal: new AbortController().signal };
  const times = { ours: [] as number[], anchor: [] as number[], same: [] as number[] };
  return {
    /** Comes first: the anchors do as it did. */
    ours: async () => void times.ours.push(await wallMs(() => work(path, means))),
    anchor: async () => void times.anchor.push(await wallMs(() => byHand(footage.ffmpeg, alone(tasks[0]!)))),
    same: async () => void times.same.push(await wallMs(() => byHand(footage.ffmpeg, tasks[0]!))),
    figures: (anchor: 'anchor' | 'same' = 'anchor') => ({
      ours: median(times.ours),
      anchor: median(times[anchor]),
      unit: 'ms',
    }),
  };
}

const alone = (task: Task): Task => ({ ...task, outputs: task.outputs.slice(0, 1) });

/**
 * Runs the command of a task with nothing round it.
 * @returns the most memory that it held. Linux only: it reads /proc
 */
export async function byHand(ffmpeg: Ffmpeg, { inputs, filter, outputs }: Task): Promise<{ peakMb: number }> {
  const { programs } = await ffmpeg.capabilities();
  const words = [
    ...inputs.flatMap(({ path, options = [] }) => [...options, '-i', path]),
    ...(filter ? ['-filter_complex', filter] : []),
    ...outputs.flatMap(({ path, options }) => [...options, path]),
  ];
  const child = endsWithUs(
    spawn(programs.ffmpeg.path, ['-v', 'error', '-nostdin', '-y', ...words], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { MALLOC_ARENA_MAX: '2' },
    }),
  );
  const ended = once(child, 'exit');
  let peakMb = 0;
  while (child.exitCode === null && child.signalCode === null) {
    peakMb = Math.max(peakMb, await heldMb(child, 'VmHWM'));
    await Promise.race([ended, sleep(20)]);
  }
  if (child.exitCode !== 0) throw new Error(`ffmpeg failed: ${words.join(' ')}`);
  return { peakMb };
}
