import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { Problem } from './problem.ts';

const sql = loadStatements(import.meta.dirname, 'backlog.sql', ['due_jobs']);

const countedEveryMs = 2_000;
const retryAfterSeconds = 10;
/** Callers may name queues that do not exist. */
const mostQueues = 1_000;

type Count = { at: number; due: Promise<number>; added: number };

/**
 * Refuses jobs of a queue that has `most` due jobs. They are counted every two seconds, and what is added meanwhile is
 * counted here: several processes may go beyond `most` by what they take in that time.
 */
export function createBacklog(db: Queryable, most: number | undefined) {
  const counts = new Map<string, Count>();

  function count(queue: string): Count {
    const known = counts.get(queue);
    if (known && performance.now() - known.at < countedEveryMs) return known;
    if (counts.size >= mostQueues) counts.clear();
    const due = query<{ due: number }>(db, sql.due_jobs, { queue, most }).then(([row]) => row!.due);
    const fresh = { at: performance.now(), due, added: 0 };
    counts.set(queue, fresh);
    due.catch(() => counts.delete(queue));
    return fresh;
  }

  return {
    /** @throws Problem 429 */
    async take(queue: string, jobs: number): Promise<void> {
      if (most === undefined) return;
      const counted = count(queue);
      if ((await counted.due) + counted.added >= most)
        throw new Problem(429, 'backlog_full', `${most} jobs of queue ${queue} are due and wait: come back later`, {
          headers: { 'retry-after': String(retryAfterSeconds) },
        });
      counted.added += jobs;
    },
  };
}
