import { UsageError } from '../errors.ts';
import type { Queryable } from './sql.ts';

/**
 * Names that are derived from the schema of our tables. So several Rowmills, and other users of graphile-worker, share
 * one database and do not see each other.
 */
export type Names = {
  /** Where our tables are. */
  schema: string;
  /** graphile-worker's schema, used only by us. */
  tickets: string;
  /** The channel on which workers are notified. */
  workers: string;
  /** The channel on which clients are notified of jobs that ended. */
  ended: string;
};

export function namesOf(schema: string): Names {
  const prefix = schema === 'public' ? 'rowmill' : schema;
  return { schema, tickets: `${prefix}_tickets`, workers: `${prefix}_workers`, ended: `${prefix}_ended` };
}

/** By the schema in which this connection would create a table. @throws UsageError if it has none */
export async function readNames(db: Queryable): Promise<Names> {
  const { rows } = await db.query<{ schema: string | null }>('select current_schema() as schema');
  if (!rows[0]?.schema)
    throw new UsageError('The first schema of search_path does not exist: run rowmill migrate, or set ROWMILL_SCHEMA');
  return namesOf(rows[0].schema);
}
