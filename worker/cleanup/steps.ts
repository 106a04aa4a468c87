import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { transaction, type Db, type Tx } from '../base/db.ts';
import { codeOf, messageOf, PermanentError } from '../base/errors.ts';
import { loadStatements, query, type Queryable, type Statement } from '../base/sql.ts';

/**
 * The statements that touch the user's own tables. They live in sql/cleanup/, where the user may edit them, one file a cleanup; what they
 * are given and answer is in the README there.
 */
export type Steps = Record<string, Statement>;

const dir = join(import.meta.dirname, '../../sql/cleanup');

export const loadSteps = (kind: string): Steps => loadStatements(dir, `${kind}.sql`);

/** Undefined for a word that is the name of no file. */
export function stepsOf(reason: string): Steps | undefined {
  return existsSync(join(dir, `${reason}.sql`)) ? loadSteps(reason) : undefined;
}

/**
 * Runs a step. It gets those of the values that it asks for.
 * @throws PermanentError `cleanup_tables_missing`, which names what is not there
 */
export async function runStep<Row extends Record<string, unknown>>(
  db: Queryable,
  step: Statement,
  values: Record<string, unknown>,
): Promise<Row[]> {
  const wanted = Object.fromEntries(Object.entries(values).filter(([name]) => step.params.includes(name)));
  try {
    return await query<Row>(db, step, wanted);
  } catch (error) {
    // Undefined table, column, function. https://www.postgresql.org/docs/current/errcodes-appendix.html
    if (!['42P01', '42703', '42883'].includes(codeOf(error) ?? '')) throw error;
    throw new PermanentError(
      'cleanup_tables_missing',
      `${messageOf(error)}: make the messenger's tables with rowmill migrate --with messenger, or edit sql/cleanup/ to fit your own`,
      { cause: error },
    );
  }
}

/**
 * A few rows of large tables are found by an index, and nothing is compared with everything, whatever the statistics say. Nobody is kept
 * waiting by a chunk that itself waits for a lock.
 */
const settings = [
  'set local enable_seqscan = off',
  'set local enable_bitmapscan = off',
  'set local enable_hashjoin = off',
  'set local enable_mergejoin = off',
  'set local jit = off',
  'set local lock_timeout = 100',
].join('; ');

/** Runs `work` in one transaction, under the settings above. */
export async function inChunk<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return transaction(db, async (tx) => {
    await tx.query(settings);
    return work(tx);
  });
}
