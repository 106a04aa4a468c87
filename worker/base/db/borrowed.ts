import type pg from 'pg';
import { transaction, type Db } from './db.ts';
import { quoted, unprepared, type Queryable } from './sql.ts';

/** A transaction of the application's: our statements find our tables in it, and its own find theirs again after that. */
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

/** A pool of the application's. */
export function borrowedPool(pool: Db, schema: string | undefined): Queryable {
  if (schema === undefined) return unprepared(pool);
  const run = (config: pg.QueryConfig) => transaction(pool, (tx) => borrowedTransaction(tx, schema).query(config));
  return { query: run as Queryable['query'] };
}
