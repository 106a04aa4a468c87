import { isLockTimeout, type Tx } from '../../base/db/db.ts';
import { bind, query } from '../../base/db/sql.ts';
import { statements, type Attempt, type Failure } from './ledger.ts';
import { storable } from './storable.ts';

/**
 * Retries the jobs of a dead worker: a job that kills its worker each time becomes a dead letter. A job whose file is
 * locked is left to the reconciler.
 */
export async function failLost(tx: Tx, queue: string, worker: string | null, jobs: Attempt[]): Promise<void> {
  if (jobs.length === 0) return;
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
  const write = (some: Failure[]) => unlessLocked(tx, () => query(tx, statement, { failures: storable(some), worker }));
  if (!(await write(failures))) for (const failure of failures) await write([failure]);
}

/** @returns false if a lock was held for too long: then nothing was done */
async function unlessLocked(tx: Tx, work: () => Promise<unknown>): Promise<boolean> {
  await tx.query('savepoint unless_locked');
  try {
    await work();
    return true;
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    await tx.query('rollback to savepoint unless_locked');
    return false;
  }
}
