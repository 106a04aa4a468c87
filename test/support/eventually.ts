import { setTimeout as sleep } from 'node:timers/promises';
import { quietNow } from './quiet-time.ts';

/**
 * Tries until `check` stops throwing, and gives what it returns; throws its last error after `withinMs`, in the time of a quiet machine.
 * Say how long only where that is what is tested: what passes does not wait longer for a deadline that is far away.
 */
export async function eventually<T>(check: () => T | Promise<T>, withinMs = 60_000): Promise<T> {
  const deadline = quietNow() + withinMs;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (quietNow() > deadline) throw error;
      await sleep(25);
    }
  }
}
