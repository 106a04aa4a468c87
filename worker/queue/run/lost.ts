import { isLockTimeout, type Tx } from '../../base/db/db.ts';
import { bind, query } from '../../base/db/sql.ts';
import { statements, type Attempt, type Failure } from './ledger.ts';
import { storable } from './storable.ts';

/** What became of a job whose worker died. */
export type Lost = { queue: string; kind: string; status: 'pending' | 'failed' };

/**
 * Retries the jobs of a dead worker: a job that kills its worker each time becomes a dead letter. A job whose file is
 * locked is left to the reconciler.
 */
export async function failLost(tx: Tx, queue: string, worker: string | null, jobs: Attempt[]): Promise<Lost[]> {
  if (jobs.length === 0) return [];
  const failures = jobs.map(({ id, attempt }): Failure => {
    return {
      id,
      attempt,
      error_code: 'worker_lost',
      error: 'The worker that ran this job died or lost its database connection',
      permanent: false,
    };
  });
  const statement = bind(statements.fail_jobs, { live: `${queue}_jobs_live` });
  const write = (some: Failure[]) =>
    unlessLocked(tx, () => query<Omit<Lost, 'queue'>>(tx, statement, { failures: storable(some), worker }));
  let lost = await write(failures);
  if (!lost) {
    lost = [];
    for (const failure of failures) lost.push(...((await write([failure])) ?? []));
  }
  return lost.map(({ kind, status }) => ({ queue, kind, status }));
}

/** @returns undefined if a lock was held for too long: then nothing was done */
export async function unlessLocked<T>(tx: Tx, work: () => Promise<T>): Promise<T | undefined> {
  await tx.query('savepoint unless_locked');
  try {
    return await work();
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    await tx.query('rollback to savepoint unless_locked');
    return undefined;
  }
}
