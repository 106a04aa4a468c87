import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { paced } from '../../base/paced.ts';

type Due = { queue: string; in_ms: number | null; asked_at: string };

const sql = loadStatements(import.meta.dirname, 'alarm.sql', ['due_soon']);
/** Jobs that fall due at nearly the same time are found by one query. */
const restMs = 10;

/**
 * Wakes a queue's runner when one of its jobs falls due, to a hundredth of a second. The jobs of the next seconds are
 * read in advance, by the database's clock.
 */
export function createAlarm(db: Queryable, queues: string[], wake: (queue: string) => void) {
  const set = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  let since: string | null = null;

  /** Must be called each second, and when a job is added that is due within the next seconds. */
  const refresh = paced(restMs, async () => {
    const asked = performance.now();
    for (const { queue, in_ms, asked_at } of await query<Due>(db, sql.due_soon, { queues, since })) {
      if (in_ms !== null) ring(queue, asked + Math.max(in_ms, restMs));
      since = asked_at;
    }
  });

  function ring(queue: string, at: number): void {
    const before = set.get(queue);
    if (before && before.at <= at) return;
    clearTimeout(before?.timer);
    const timer = setTimeout(
      () => {
        set.delete(queue);
        wake(queue);
        void refresh().catch(() => {});
      },
      Math.max(Math.ceil(at - performance.now()), 0) + 1,
    );
    set.set(queue, { at, timer: timer.unref() });
  }

  return {
    refresh,
    stop(): void {
      for (const { timer } of set.values()) clearTimeout(timer);
    },
  };
}
