import { join } from 'node:path';
import { transaction, type Db, type Tx } from '../../../base/db/db.ts';
import { codeOf, messageOf, PermanentError } from '../../../base/errors.ts';
import { loadStatements, query, type Queryable, type Statement } from '../../../base/db/sql.ts';

/**
 * The statements that touch the user's own tables. They are in sql/cleanup/, one file per cleanup, where the user may
 * edit them. The README there describes parameters and results.
 */
const sql = loadStatements(import.meta.dirname, 'steps.sql', ['foreign_tables', 'take_turn']);
const dir = join(import.meta.dirname, '../../../../sql/cleanup');

export const loadSteps = <const Name extends string, const Optional extends string = never>(
  kind: string,
  names: readonly Name[],
  optional: readonly Optional[] = [],
) => loadStatements(dir, `${kind}.sql`, names, optional);

/**
 * Checks the tables of a cleanup before it runs: they must exist, and belong to roles that have our rights anyway,
 * because the triggers, policies and checks of a table run as us. Preparing a statement locks its tables, and runs
 * nothing of theirs.
 * @throws PermanentError `cleanup_tables_missing`, `cleanup_tables_foreign`; both name the table
 */
export async function checkTables(db: Db, steps: Partial<Record<string, Statement>>): Promise<void> {
  await transaction(db, async (tx) => {
    for (const step of Object.values(steps)) {
      await naming(() => tx.query(`prepare step as ${step!.text}`));
      await tx.query('deallocate step');
    }
    const [foreign] = await query<{ name: string; owner: string }>(tx, sql.foreign_tables);
    if (foreign)
      throw new PermanentError(
        'cleanup_tables_foreign',
        `Table ${foreign.name} belongs to ${foreign.owner}, whose triggers would have the rights of the worker: ` +
          `grant the worker's role to ${foreign.owner}, or name another table in sql/cleanup/`,
      );
  });
}

/**
 * Runs a step, with those of the values that it uses.
 * @throws PermanentError `cleanup_tables_missing`, which names what is missing
 */
export async function runStep<Row extends Record<string, unknown>>(
  db: Queryable,
  step: Statement,
  values: Record<string, unknown>,
): Promise<Row[]> {
  const wanted = Object.fromEntries(Object.entries(values).filter(([name]) => step.params.includes(name)));
  return naming(() => query<Row>(db, step, wanted));
}

async function naming<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // Undefined table, column, function. https://www.postgresql.org/docs/current/errcodes-appendix.html
    if (!['42P01', '42703', '42883'].includes(codeOf(error) ?? '')) throw error;
    throw new PermanentError(
      'cleanup_tables_missing',
      `${messageOf(error)}: create the messenger's tables with rowmill migrate --with messenger, ` +
        'or edit sql/cleanup/ to fit your own',
      { cause: error },
    );
  }
}

/**
 * A few rows of a large table must be found by an index, whatever the statistics say. A chunk that waits for a lock
 * makes others wait, so it waits only briefly.
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

/**
 * The same, for a chunk that must see what other chunks of its kind have done: they run one after another, whichever
 * jobs they belong to.
 */
export const inTurn =
  (kind: string): typeof inChunk =>
  (db, work) =>
    inChunk(db, async (tx) => {
      await query(tx, sql.take_turn, { kind });
      return work(tx);
    });
