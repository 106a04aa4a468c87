import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'counts.sql', ['queue_counts']);

export type QueueCounts = {
  queue: string;
  paused: boolean;
  /** Due, and not started. */
  waiting: number;
  active: number;
  /** Completed so far: pruning does not lower it. */
  completed: number;
  /** Dead letters. */
  failed: number;
  /** Due later. */
  delayed: number;
  /** For how long the oldest waiting job has been due. */
  oldest_due_s: number | null;
  /** How old the numbers are: of a queue with tens of thousands of live jobs, some seconds. */
  age_s: number;
};

/** How many jobs each queue holds. Takes milliseconds, however many they are: see queue_counts() in the database. */
export const queueCounts = (db: Queryable) => query<QueueCounts>(db, sql.queue_counts);
