import { setTimeout as sleep } from 'node:timers/promises';
import type { Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'uncommitted.sql', [
  'next_transaction',
  'in_progress_below',
  'in_progress_among',
]);
/**
 * The pause before it asks whether a transaction has ended: a hundredth of the time that it has waited, within these.
 */
const pauseMs = { least: 20, most: 5_000 };

type Watch = { queue: string; since: number; open: string[] };

/**
 * Wakes a queue when a transaction ends that was in progress when `watch` was called. It may have inserted jobs and
 * not notified, because it could not see that this worker wants to be notified.
 */
export type Uncommitted = ReturnType<typeof createUncommitted>;

export function createUncommitted(db: Db, wake: (queue: string) => void, signal: AbortSignal) {
  const watches = new Map<string, Watch>();
  let following = false;

  /**
   * Resolves when it is known which transactions are in progress. The jobs of those that have ended can be found now.
   */
  async function watch(queue: string): Promise<void> {
    const [next] = await query<{ id: string }>(db, sql.next_transaction);
    const open = await query<{ id: string }>(db, sql.in_progress_below, { below: next!.id });
    watches.set(queue, { queue, since: performance.now(), open: open.map(({ id }) => id) });
    if (following) return;
    following = true;
    void follow();
  }

  async function follow(): Promise<void> {
    for (;;) {
      for (const { queue, open } of watches.values()) if (open.length === 0) watches.delete(queue);
      if (watches.size === 0 || signal.aborted) {
        following = false;
        return;
      }
      const waited = performance.now() - Math.max(...[...watches.values()].map(({ since }) => since));
      const pause = Math.min(Math.max(pauseMs.least, waited / 100), pauseMs.most);
      await sleep(pause, undefined, { signal }).catch(() => {});
      await ask().catch(() => {});
    }
  }

  async function ask(): Promise<void> {
    const asked = [...watches.values()];
    const ids = [...new Set(asked.flatMap(({ open }) => open))];
    const left = new Set((await query<{ id: string }>(db, sql.in_progress_among, { ids })).map(({ id }) => id));
    for (const of of asked) {
      const open = of.open.filter((id) => left.has(id));
      if (open.length < of.open.length) wake(of.queue);
      of.open = open;
    }
  }

  return { watch };
}
