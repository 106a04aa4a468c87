import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, transaction, type Db, type Tx } from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';
import type { Names } from '../../base/db/names.ts';
import { bind, loadStatements, query } from '../../base/db/sql.ts';
import { failLost, type Lost } from '../run/lost.ts';
import { addLost, pruneRollups } from './rollups.ts';

const sql = loadStatements(import.meta.dirname, 'upkeep.sql', [
  'upkeep_lock',
  'upkeep_due',
  'count_large_queues',
  'archive_jobs',
  'prune_jobs',
  'prunable_jobs',
  'vacuum',
  'repairs_due',
  'reticket_jobs',
  'orphaned_jobs',
  'unlock_orphaned',
]);
const reconcileEveryMs = 30_000;
const reconcileAtLeastEveryMs = 120_000;
const countEveryMs = 10_000;
const restFactor = 20;
/** After runs that found nothing to do it rests longer: so many times as long at most. */
const longestStretch = 4;
/** A run may be slow because it waited for a lock, which is no load. */
const longestRestMs = 30_000;
const chunk = 5_000;
/** What reads all jobs that wait comes so many rests after the start: a worker that starts has jobs to do first. */
const firstRests = 10;
/** A queue's tables are vacuumed after this number of moved and pruned rows. */
const vacuumAfter = 20_000;

/**
 * Moves finished jobs to the archive, prunes the archive, counts the jobs of large queues, and repairs what should not
 * be broken, until `signal` aborts.
 * The fleet as a whole looks about once per `restMs` whether there is something to move, and less often while there is
 * nothing. After a run it rests twenty times as long as it took to see that there was nothing more to do, at most 30 s:
 * such looks cost five per cent of a connection. Repairs read all jobs that wait. They rest as long, but at least 30 s
 * and at most two minutes.
 */
export async function keepUp(
  db: Db,
  { tickets }: Pick<Names, 'tickets'>,
  queues: string[],
  log: Log,
  signal: AbortSignal,
  restMs = 1_000,
): Promise<void> {
  let reconcileAt = performance.now() + firstRests * restMs;
  let workers = 1;
  const moved = new Map<string, number>();
  let stretch = 1;
  const countLarge = atMostEvery(countEveryMs, reconcileAt, () => countQueues(db));

  while (!signal.aborted) {
    const began = performance.now();
    // If a table is locked, it is not known which queues are due: then all are tried.
    let due = queues;
    let archivingMs = 0;
    await trying(async () => {
      const found = await findDue(db, queues);
      due = found?.due ?? [];
      archivingMs = performance.now() - began;
      workers = found?.workers ?? workers;
    });
    for (const queue of due) await trying(async () => (archivingMs += await archiveAll(queue)));
    await trying(countLarge);
    if (performance.now() > reconcileAt) reconcileAt = performance.now() + reconcilePause(await repair());
    stretch = due.length > 0 ? 1 : Math.min(stretch * 2, longestStretch);
    const load = Math.min(archivingMs * restFactor, longestRestMs);
    await sleep(Math.max(restMs * stretch * Math.max(workers, 1), load), undefined, { signal }).catch(() => {});
  }

  /** @returns how many milliseconds it took to see that there is nothing more to archive */
  async function archiveAll(queue: string): Promise<number> {
    const archiving = await repeat(db, signal, (tx) => archive(tx, queue));
    const rows = (moved.get(queue) ?? 0) + archiving.rows;
    moved.set(queue, rows >= vacuumAfter ? 0 : rows);
    if (rows >= vacuumAfter) await query(db, bind(sql.vacuum, { tickets, ...tablesOf(queue) }));
    return archiving.ms;
  }

  /** @returns how many milliseconds it took */
  async function repair(): Promise<number> {
    const began = performance.now();
    // Not known while a table is locked: then all are tried.
    let due = queues;
    await trying(async () => void (due = await findBroken(db, queues)));
    for (const queue of due) await trying(() => locked(db, (tx) => reconcile(tx, tickets, queue, log)));
    await trying(() => query(db, bind(sql.unlock_orphaned, { tickets })));
    await trying(() => pruneRollups(db));
    return performance.now() - began;
  }

  async function trying(work: () => Promise<unknown>): Promise<void> {
    await work().catch((error: unknown) =>
      log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'upkeep failed, will try again'),
    );
  }
}

const countQueues = (db: Db) => locked(db, (tx) => query(tx, sql.count_large_queues));

/** Runs `work` when called, unless it did so less than `ms` ago, or it is before `next`, by performance.now. */
function atMostEvery(ms: number, next: number, work: () => Promise<unknown>): () => Promise<void> {
  return async () => {
    if (performance.now() < next) return;
    next = performance.now() + ms;
    await work();
  };
}

const reconcilePause = (ms: number) => Math.min(Math.max(ms * restFactor, reconcileEveryMs), reconcileAtLeastEveryMs);

/** Undefined while another worker does the upkeep. */
async function findDue(db: Db, queues: string[]): Promise<{ due: string[]; workers: number } | undefined> {
  type Found = { due: string[]; workers: number };
  return locked(db, async (tx) => (await query<Found>(tx, sql.upkeep_due, { queues }))[0]);
}

/** The queues in which something may be broken. None while another worker does the upkeep. */
async function findBroken(db: Db, queues: string[]): Promise<string[]> {
  const found = await locked(db, (tx) => query<{ due: string[] }>(tx, sql.repairs_due, { queues }));
  return found?.[0]!.due ?? [];
}

/**
 * Repeats `work`, which returns the number of rows that it changed, while these are a chunk or more.
 * @returns the rows of all runs, and the milliseconds of the last run, which found nothing more
 */
async function repeat(
  db: Db,
  signal: AbortSignal,
  work: (tx: Tx) => Promise<number>,
): Promise<{ rows: number; ms: number }> {
  for (let rows = 0; ;) {
    const began = performance.now();
    const changed = (await locked(db, work)) ?? 0;
    rows += changed;
    if (changed < chunk || signal.aborted) return { rows, ms: performance.now() - began };
  }
}

/** Runs `work` in a transaction, unless another worker does so. */
function locked<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T | undefined> {
  return transaction(db, async (tx) => {
    const [lock] = await query<{ ours: boolean }>(tx, sql.upkeep_lock);
    return lock?.ours ? work(tx) : undefined;
  });
}

function tablesOf(queue: string) {
  return { live: `${queue}_jobs_live`, done: `${queue}_jobs_done`, jobs: `${queue}_jobs` };
}

/** @returns how many jobs it moved and pruned, at most a chunk of each */
export async function archive(tx: Tx, queue: string): Promise<number> {
  const tables = tablesOf(queue);
  const [moved] = await query<{ jobs: number }>(tx, bind(sql.archive_jobs, tables), { queue });
  return (moved?.jobs ?? 0) + (await prune(tx, queue));
}

/** The most that `prune` deletes at a time. */
export const pruneChunk = chunk;

/** Deletes archived jobs that were kept for long enough. @returns how many */
export async function prune(tx: Tx, queue: string): Promise<number> {
  const [pruned] = await query<{ jobs: number }>(tx, bind(sql.prune_jobs, tablesOf(queue)), { queue });
  return pruned!.jobs;
}

/** How many jobs can be pruned. */
export async function countPrunable(db: Db, queue: string): Promise<number> {
  const [prunable] = await query<{ jobs: number }>(db, bind(sql.prunable_jobs, tablesOf(queue)), { queue });
  return prunable!.jobs;
}

/** Makes tickets for pending jobs that lost theirs, and retries orphaned jobs. */
export async function reconcile(tx: Tx, tickets: string, queue: string, log: Log): Promise<void> {
  const { live } = tablesOf(queue);
  const [forgotten] = await query<{ jobs: number }>(tx, bind(sql.reticket_jobs, { live, tickets }), { queue });
  if (forgotten && forgotten.jobs > 0) log.warn({ queue, jobs: forgotten.jobs }, 'made tickets for forgotten jobs');

  const orphaned = await query<{ id: number; attempt: number; locked_by: string | null }>(
    tx,
    bind(sql.orphaned_jobs, { live }),
  );
  const byWorker = Map.groupBy(orphaned, (job) => job.locked_by);
  const lost: Lost[] = [];
  for (const [worker, jobs] of byWorker) lost.push(...(await failLost(tx, queue, worker, jobs)));
  await addLost(tx, lost);
  if (orphaned.length > 0) log.warn({ queue, jobs: orphaned.length }, 'retried jobs that no worker ran');
}
