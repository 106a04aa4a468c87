import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Work that is done once for any number of calls: at once when it is idle, and once more when it was called while it was under way or
 * rested for `restMs` after it. Each call settles with a run that began after it.
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
