import type { Db, Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import { ByKind } from '../by-kind.ts';
import { count } from '../histogram.ts';
import type { JobRow } from '../job.ts';
import type { Registry } from '../registry.ts';
import { unlessLocked, type Lost } from '../run/lost.ts';
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

const nothing = (queue: string, kind: string): Sum => ({
  queue,
  kind,
  completed: 0,
  failed: 0,
  retried: 0,
  duration_ms: 0,
  durations: [],
  waited_ms: 0,
  waits: [],
});

/** Adds up the attempts of this process, for job_rollups: a few rows at each `write`, however many attempts. */
export class Rollups implements Observer {
  readonly #db: Db;
  readonly #registry: Registry;
  #sums: ByKind<Sum>;

  constructor(db: Db, registry: Registry) {
    this.#db = db;
    this.#registry = registry;
    this.#sums = new ByKind(registry, nothing);
  }

  started(job: Readonly<JobRow>, waited_ms: number): void {
    const sum = this.#sums.of(job);
    sum.waited_ms += waited_ms;
    count(sum.waits, waited_ms);
  }

  ended(job: Readonly<JobRow>, { outcome }: Ended, duration_ms: number): void {
    if (outcome !== 'completed' && outcome !== 'fail' && outcome !== 'retry') return;
    const sum = this.#sums.of(job);
    sum[columnOf[outcome]] += 1;
    sum.duration_ms += duration_ms;
    count(sum.durations, duration_ms);
  }

  /** Writes what has come since the last time. If that fails, it is written the next time. */
  async write(): Promise<void> {
    const sums = [...this.#sums.values()];
    if (sums.length === 0) return;
    this.#sums = new ByKind(this.#registry, nothing);
    try {
      await query(this.#db, sql.add_rollups, { sums: JSON.stringify(sums) });
    } catch (error) {
      this.#takeBack(sums);
      throw error;
    }
  }

  #takeBack(sums: Sum[]): void {
    for (const sum of sums) {
      const into = this.#sums.of(sum);
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

/**
 * Adds attempts that ended with their worker, which told nobody of them: how long they ran is not known. They are left
 * out if somebody holds the rows locked: the jobs matter more.
 */
export async function addLost(tx: Tx, lost: Lost[]): Promise<void> {
  if (lost.length === 0) return;
  const kinds = Map.groupBy(lost, ({ queue, kind }) => JSON.stringify([queue, kind]));
  const sums = [...kinds.values()].map((group): Sum => {
    const failed = group.filter(({ status }) => status === 'failed').length;
    return { ...nothing(group[0]!.queue, group[0]!.kind), failed, retried: group.length - failed };
  });
  await unlessLocked(tx, () => query(tx, sql.add_rollups, { sums: JSON.stringify(sums) }));
}

/** Minutes are kept for a day, quarters of an hour for a month. */
export const pruneRollups = (db: Db) => query(db, sql.prune_rollups);
