import type { Db } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { count } from '../histogram.ts';
import type { JobRow } from '../job.ts';
import { labelsOf, type Registry } from '../registry.ts';
import type { Ended, Observer } from '../run/observer.ts';

const sql = loadStatements(import.meta.dirname, 'rollups.sql', ['add_rollups', 'prune_rollups']);

type Sum = {
  queue: string;
  kind: string;
  completed: number;
  failed: number;
  retried: number;
  duration_ms: number;
  durations: number[];
  waited_ms: number;
  waits: number[];
};

const columnOf = { completed: 'completed', fail: 'failed', retry: 'retried' } as const;

/** Adds up the attempts of this process, for job_rollups: a few rows at each `write`, however many attempts. */
export class Rollups implements Observer {
  readonly #db: Db;
  readonly #registry: Registry;
  #sums = new Map<string, Sum>();

  constructor(db: Db, registry: Registry) {
    this.#db = db;
    this.#registry = registry;
  }

  started(job: Readonly<JobRow>, waited_ms: number): void {
    const sum = this.#sumOf(job);
    sum.waited_ms += waited_ms;
    count(sum.waits, waited_ms);
  }

  ended(job: Readonly<JobRow>, { outcome }: Ended, duration_ms: number): void {
    if (outcome !== 'completed' && outcome !== 'fail' && outcome !== 'retry') return;
    const sum = this.#sumOf(job);
    sum[columnOf[outcome]] += 1;
    sum.duration_ms += duration_ms;
    count(sum.durations, duration_ms);
  }

  #sumOf(job: Readonly<JobRow>): Sum {
    const { name, queue, kind } = labelsOf(this.#registry, job);
    let sum = this.#sums.get(name);
    if (!sum) {
      const counts = { completed: 0, failed: 0, retried: 0, duration_ms: 0, waited_ms: 0 };
      sum = { queue, kind, ...counts, durations: [], waits: [] };
      this.#sums.set(name, sum);
    }
    return sum;
  }

  /** Writes what has come since the last time. If that fails, it is written the next time. */
  async write(): Promise<void> {
    const sums = this.#sums;
    if (sums.size === 0) return;
    this.#sums = new Map();
    try {
      await query(this.#db, sql.add_rollups, { sums: JSON.stringify([...sums.values()]) });
    } catch (error) {
      this.#takeBack(sums);
      throw error;
    }
  }

  #takeBack(former: Map<string, Sum>): void {
    const newer = this.#sums;
    this.#sums = former;
    for (const [key, sum] of newer) {
      const into = former.get(key);
      if (!into) {
        former.set(key, sum);
        continue;
      }
      for (const name of ['completed', 'failed', 'retried', 'duration_ms', 'waited_ms'] as const)
        into[name] += sum[name];
      for (const name of ['durations', 'waits'] as const)
        into[name] = Array.from(
          { length: Math.max(into[name].length, sum[name].length) },
          (_, n) => (into[name][n] ?? 0) + (sum[name][n] ?? 0),
        );
    }
  }
}

/** Minutes are kept for a day, quarters of an hour for a month. */
export const pruneRollups = (db: Db) => query(db, sql.prune_rollups);
