import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, transaction, type Db, type Tx } from '../base/db.ts';
import type { Log } from '../base/log.ts';
import { bind, loadStatements, query } from '../base/sql.ts';
import { failLost } from './ledger.ts';

const sql = loadStatements(import.meta.dirname, 'upkeep.sql');
const reconcileEveryMs = 30_000;

/**
 * Moves finished jobs to the archive, prunes the archive, and mends what should not be broken, until `signal` aborts. After a look
 * that found little to do it rests twenty times as long as the look took, so that looking costs five percent of a connection.
 */
export async function keepUp(db: Db, queues: string[], log: Log, signal: AbortSignal, restMs = 1_000): Promise<void> {
  let reconciledAt = -Infinity;
  while (!signal.aborted) {
    const reconcileNow = performance.now() - reconciledAt > reconcileEveryMs;
    let looked = 0;
    for (const queue of queues) {
      try {
        looked += await alone(db, (tx) => archive(tx, queue));
        if (reconcileNow) looked += await alone(db, (tx) => reconcile(tx, queue, log));
      } catch (error) {
        log[isTransient(error) ? 'debug' : 'error']({ err: error, queue }, 'upkeep failed, will try again');
      }
    }
    if (reconcileNow) {
      await query(db, sql['unlock_strays']!).catch(() => {});
      reconciledAt = performance.now();
    }
    await sleep(Math.max(restMs, looked * 20), undefined, { signal }).catch(() => {});
  }
}

/** Repeats `work` while it says there is more. @returns how many milliseconds the last time took, which found no more */
async function alone(db: Db, work: (tx: Tx) => Promise<boolean>): Promise<number> {
  for (;;) {
    const began = performance.now();
    const more = await transaction(db, async (tx) => {
      const [lock] = await query<{ ours: boolean }>(tx, sql['upkeep_lock']!);
      return lock?.ours ? work(tx) : false;
    });
    if (!more) return performance.now() - began;
  }
}

/** @returns whether there is more to move or prune */
export async function archive(tx: Tx, queue: string): Promise<boolean> {
  const tables = { live: `${queue}_jobs_live`, done: `${queue}_jobs_done`, jobs: `${queue}_jobs` };
  const [moved] = await query<{ jobs: number }>(tx, bind(sql['archive_jobs']!, tables), { queue });
  const [pruned] = await query<{ jobs: number }>(tx, bind(sql['prune_jobs']!, tables), { queue });
  return (moved?.jobs ?? 0) >= 5_000 || (pruned?.jobs ?? 0) >= 5_000;
}

/** Tickets for pending jobs that lost theirs, retries for jobs that nobody runs. */
export async function reconcile(tx: Tx, queue: string, log: Log): Promise<false> {
  const live = { live: `${queue}_jobs_live` };
  const [forgotten] = await query<{ jobs: number }>(tx, bind(sql['reticket_jobs']!, live), { queue });
  if (forgotten && forgotten.jobs > 0) log.warn({ queue, jobs: forgotten.jobs }, 'made tickets for forgotten jobs');

  const orphaned = await query<{ id: number; attempt: number; locked_by: string | null }>(
    tx,
    bind(sql['orphaned_jobs']!, live),
  );
  const byWorker = Map.groupBy(orphaned, (job) => job.locked_by);
  for (const [worker, jobs] of byWorker) await failLost(tx, queue, worker, jobs);
  if (orphaned.length > 0) log.warn({ queue, jobs: orphaned.length }, 'retried jobs that no worker ran');
  return false;
}
