import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'logs.sql', ['prune_logs', 'prunable_logs']);

/**
 * Deletes rows of cleanup_logs that are older than the archive of cleanup jobs.
 * @param limit the most that are deleted
 * @returns how many were deleted
 */
export async function pruneLogs(tx: Queryable, limit: number): Promise<number> {
  const [pruned] = await query<{ logs: number }>(tx, sql.prune_logs, { limit });
  return pruned!.logs;
}

/** How many rows can be pruned. */
export async function countPrunableLogs(db: Queryable): Promise<number> {
  const [prunable] = await query<{ logs: number }>(db, sql.prunable_logs);
  return prunable!.logs;
}
