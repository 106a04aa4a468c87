import { setTimeout as sleep } from 'node:timers/promises';
import { quietNow } from './quiet-time.ts';

/**
 * Tries until `check` stops throwing, and gives what it returns; throws its last error after `withinMs`, in the time of
 * a quiet machine. Say how long only where that is what is tested: what passes does not wait longer for a deadline that
 * is far away.
 */
export async function eventually<T>(check: () => T | Promise<T>, withinMs = 60_000): Promise<T> {
  const began = performance.now();
  const deadline = quietNow() + withinMs;
  for (;;) {
    const tried = performance.now();
    try {
      return await check();
    } catch (error) {
      if (quietNow() > deadline) throw error;
      const now = performance.now();
      await sleep(restMs(now - tried, now - began));
    }
  }
}

/** A check that is slow, or has been tried for long, rests longer: it takes its CPU from what it waits for. */
const restMs = (tookMs: number, waitedMs: number) => Math.min(Math.max(25, tookMs * 4, waitedMs / 20), 250);
