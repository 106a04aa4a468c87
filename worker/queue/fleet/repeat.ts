import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient } from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';

export type Chore = { everyMs: number; work: () => Promise<void> };

/**
 * Does housekeeping again and again, until `signal` aborts. Chores of the same time begin in the same turn of the event
 * loop, so their reads can be joint. A chore that takes longer than its interval is done again at its next time.
 */
export async function repeat(chores: Chore[], log: Log, signal: AbortSignal): Promise<void> {
  const began = performance.now();
  const nextAt = new Map(chores.map((chore) => [chore, began]));
  const underWay = new Map<Chore, Promise<void>>();

  while (!signal.aborted) {
    const now = performance.now();
    for (const [chore, at] of nextAt) {
      if (at > now) continue;
      // From when it was due, and not from now: on a busy machine, chores would drift apart.
      nextAt.set(chore, at + chore.everyMs * Math.max(1, Math.ceil((now - at) / chore.everyMs)));
      if (!underWay.has(chore)) underWay.set(chore, begin(chore));
    }
    const wait = Math.min(...nextAt.values()) - performance.now();
    await sleep(Math.max(wait, 0), undefined, { signal }).catch(() => {});
  }
  await Promise.all(underWay.values());

  async function begin(chore: Chore): Promise<void> {
    await chore
      .work()
      .catch((error: unknown) =>
        log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'housekeeping failed, will try again'),
      );
    underWay.delete(chore);
  }
}
