import type pg from 'pg';
import { transaction, type Db } from './db.ts';
import { quoted, unprepared, type Queryable } from './sql.ts';

/**
 * The application's own transaction. Our statements run with our search_path; the application's search_path is set back
 * after each.
 */
export function borrowedTransaction(tx: Queryable, schema: string | undefined): Queryable {
  const ours = unprepared(tx);
  if (schema === undefined) return ours;
  const setPath = (path: string) => ours.query({ text: `select set_config('search_path', $1, true)`, values: [path] });
  async function run(config: pg.QueryConfig): Promise<pg.QueryResult> {
    const { rows } = await ours.query<{ path: string }>({ text: `select current_setting('search_path') as path` });
    await setPath(quoted(schema!));
    const result = await ours.query(config);
    await setPath(rows[0]!.path);
    return result;
  }
  return { query: run as Queryable['query'] };
}

/** The application's own pool. */
export function borrowedPool(pool: Db, schema: string | undefined): Queryable {
  if (schema === undefined) return unprepared(pool);
  const run = (config: pg.QueryConfig) => transaction(pool, (tx) => borrowedTransaction(tx, schema).query(config));
  return { query: run as Queryable['query'] };
}
