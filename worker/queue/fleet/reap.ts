import { setTimeout as sleep } from 'node:timers/promises';
import { transaction, type Db } from '../../base/db/db.ts';
import type { Names } from '../../base/db/names.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import type { Log } from '../../base/log.ts';
import type { Membership } from './liveness.ts';
import { retryJobsOf } from './lost-jobs.ts';
import { unlockTickets } from './pools.ts';

const sql = loadStatements(import.meta.dirname, 'reap.sql', [
  'find_dead',
  'set_back_heartbeats',
  'reap',
  'end_sessions',
]);
/** How long a lock must have been free. */
const secondLookMs = 500;

type Suspect = { id: string; silent: boolean; dead: boolean; ahead: boolean };
type Dead = { id: string; instance: string; host: string; pid: number; queues: string[]; pools: string[] };

export type ReaperOptions = {
  db: Db;
  /** For what is asked at each sweep. */
  reads: Queryable;
  names: Names;
  log: Log;
  membership: Membership;
  heartbeatMs: number;
  deadAfterMs: number;
};

/** Reaps dead workers: their tickets are unlocked, and their jobs are retried as `worker_lost`. */
export class Reaper {
  readonly #options: ReaperOptions;

  constructor(options: ReaperOptions) {
    this.#options = options;
  }

  /**
   * Reaps those whose heartbeat is old, and those whose lock was free at two checks, because a session that broke is
   * reopened at once.
   */
  async reap(): Promise<void> {
    const suspects = await this.#findDead();
    if (suspects.length === 0) return;
    await sleep(secondLookMs, undefined, { ref: false });
    for (const dead of await this.#findDead())
      if (suspects.some(({ id }) => id === dead.id))
        await this.#reapOne(dead).catch((error: unknown) =>
          this.#options.log.warn({ err: error, worker: dead.id }, 'could not reap a dead worker'),
        );
  }

  /** Workers whose lock is free, or whose heartbeat is old, if we have been connected for long enough to judge. */
  async #findDead(): Promise<Suspect[]> {
    const { db, reads, membership, heartbeatMs, deadAfterMs } = this.#options;
    const settledMs = membership.settledMs();
    if (settledMs < 0) return [];
    const values = { self: membership.id(), dead_after_s: deadAfterMs / 1_000 };
    const found = await query<Suspect>(reads, sql.find_dead, values);
    if (found.some(({ ahead }) => ahead)) await query(db, sql.set_back_heartbeats);
    return found.filter(({ dead, silent }) => dead && (!silent || settledMs > heartbeatMs));
  }

  async #reapOne(dead: Suspect): Promise<void> {
    const { db, names, log } = this.#options;
    await transaction(db, async (tx) => {
      const [worker] = await query<Dead>(tx, sql.reap, { id: dead.id, silent: dead.silent });
      if (!worker) return;
      // A process that is frozen inside a transaction holds its rows locked.
      await query(tx, sql.end_sessions, { instance: worker.instance });
      const lost = await retryJobsOf(tx, worker);
      await unlockTickets(tx, names, worker);
      log.warn({ worker: worker.id, host: worker.host, pid: worker.pid, jobs: lost }, 'reaped a dead worker');
    });
  }
}
