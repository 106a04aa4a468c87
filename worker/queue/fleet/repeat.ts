import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient } from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';

export type Chore = { everyMs: number; work: () => Promise<void> };

/** A chore that is due so soon is done now, so that chores are done together: ms, and part of its interval. */
const early = { ms: 100, part: 0.1 };

/**
 * Does housekeeping again and again, until `signal` aborts. Chores of the same time begin in the same turn of the event
 * loop, so their reads can be joint. A chore that takes longer than its interval is done again at its next time.
 */
export async function repeat(chores: Chore[], log: Log, signal: AbortSignal): Promise<void> {
  const nextAt = new Map(chores.map((chore) => [chore, -Infinity]));
  const underWay = new Map<Chore, Promise<void>>();

  while (!signal.aborted) {
    const now = performance.now();
    for (const [chore, at] of nextAt) {
      if (at > now + Math.min(early.ms, chore.everyMs * early.part)) continue;
      nextAt.set(chore, now + chore.everyMs);
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
