import { isTransient, isUnsent, transaction, type Tx } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import type { Attempting, AttemptOptions } from './attempt.ts';
import { Stopped } from './outcome.ts';

type CommitOptions = Pick<AttemptOptions, 'app' | 'ledger'>;

/**
 * Does `work` in the transaction that completes the job with what it returns. It is done again while Postgres is away,
 * until the job is stopped.
 * @throws Stopped when the row is no longer this attempt's; what `work` throws
 */
export async function commit<Result>(
  attempting: Attempting,
  work: (tx: Tx) => Promise<Result>,
  { app, ledger }: CommitOptions,
): Promise<Result> {
  const { row, stop } = attempting;
  let result: Result;
  const done = await persist(
    (tries) =>
      transaction(app.db, async (tx) => {
        // The job's row is locked first, as every other statement does that goes on to the file's row: no deadlock.
        if (!(await ledger.holdIn(tx, row))) {
          // The answer to an earlier COMMIT may have been lost on its way: then this attempt has completed the row.
          if (tries > 1 && (await ledger.completedBy(row))) return result;
          throw new Stopped('taken');
        }
        result = await work(tx);
        await ledger.completeIn(tx, row, result);
        return result;
      }),
    stop.signal,
    (error) => isTransient(error) || isUnsent(error),
  );
  attempting.committed = true;
  return done;
}
