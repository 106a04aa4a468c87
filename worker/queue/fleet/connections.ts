import type { App } from '../../app.ts';
import { createPool } from '../../base/db/db.ts';

/**
 * What the engine's connections set. Its statements find a few rows of large tables by their keys: they always go by index and one row
 * at a time, whatever the statistics of a fresh table say. Up to Postgres 17 forbidden plans look so costly that they would be planned
 * anew each time, which takes longer than to run them. Rows that somebody holds locked are asked for again and again, so that they keep
 * no connection from the others.
 */
const engineSettings = [
  'set enable_seqscan = off',
  'set enable_bitmapscan = off',
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set enable_indexscan = on',
  'set enable_nestloop = on',
  'set plan_cache_mode = force_generic_plan',
  'set lock_timeout = 100',
].join('; ');
/**
 * A claim or a start that is lost when Postgres crashes is made again, so it need not wait for the disk. What ends an attempt does.
 * graphile-worker qualifies what is its own: where anybody may make functions in the schema of our tables, it calls none of them.
 */
const claimSettings = `${engineSettings}; set synchronous_commit = off; set search_path = pg_catalog, pg_temp`;

export function openEnginePools({ config, instance, log }: App, databaseUrl: string) {
  const pool = (max: number, setUp: string) =>
    createPool(databaseUrl, { max, log, setUp, instance, queryTimeoutMs: 30_000 });
  const { claims, ledger } = config.connections;
  return { db: pool(ledger, engineSettings), claims: pool(claims, claimSettings) };
}
