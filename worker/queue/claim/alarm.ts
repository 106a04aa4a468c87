import type { Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { paced } from '../../base/paced.ts';

type Due = { queue: string; in_ms: number | null; looked_at: string };

const sql = loadStatements(import.meta.dirname, 'alarm.sql', ['due_soon']);
/** Jobs that are due at nearly the same time are found by one look. */
const restMs = 10;

/**
 * Wakes a queue's runner when a job of it falls due, to the hundredth of a second: what is due within the next seconds is looked up
 * ahead, by the database's clock.
 */
export function createAlarm(db: Db, queues: string[], wake: (queue: string) => void) {
  const set = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  let since: string | null = null;

  /** To be called each second, and when somebody adds a job that is due within the next few. */
  const look = paced(restMs, async () => {
    const asked = performance.now();
    for (const { queue, in_ms, looked_at } of await query<Due>(db, sql.due_soon, { queues, since })) {
      if (in_ms !== null) ring(queue, asked + Math.max(in_ms, restMs));
      since = looked_at;
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
        void look().catch(() => {});
      },
      Math.max(Math.ceil(at - performance.now()), 0) + 1,
    );
    set.set(queue, { at, timer: timer.unref() });
  }

  return {
    look,
    stop(): void {
      for (const { timer } of set.values()) clearTimeout(timer);
    },
  };
}
