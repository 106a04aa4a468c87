import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Coalesces calls. `work` runs at once if it is idle; if it is called while it runs, or within `restMs` after that, it
 * runs once more. Each call settles with a run that began after the call.
 */
export function paced(restMs: number, work: () => Promise<void>): () => Promise<void> {
  let next: Promise<void> | undefined;
  let rested: Promise<void> = Promise.resolve();

  async function run(): Promise<void> {
    await rested;
    next = undefined;
    const done = work();
    rested = done.catch(() => {}).then(() => sleep(restMs, undefined, { ref: false }));
    return done;
  }

  return () => (next ??= run());
}
