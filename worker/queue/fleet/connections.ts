import type { App } from '../../app.ts';
import { createPool } from '../../base/db/db.ts';

/**
 * The settings of the engine's connections. Its statements find a few rows of large tables by their keys: always by
 * index and one row at a time, whatever the statistics of a fresh table say. Up to Postgres 17, disabled plans look so
 * expensive that statements would be planned anew each time, which takes longer than to run them. A locked row is
 * waited for only briefly and asked for again, so that it keeps no connection from the others.
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
 * If a claim or a start is lost when Postgres crashes, it is made again, so it need not wait for the disk. The outcome
 * of an attempt must. graphile-worker qualifies its own names, so with this search_path it calls no function that
 * another role may have created in the schema of our tables.
 */
const claimSettings = `${engineSettings}; set synchronous_commit = off; set search_path = pg_catalog, pg_temp`;

export function openEnginePools({ config, instance, log }: App, databaseUrl: string) {
  const pool = (max: number, setUp: string) =>
    createPool(databaseUrl, { max, log, setUp, instance, queryTimeoutMs: 30_000 });
  const { claims, ledger } = config.connections;
  return { db: pool(ledger, engineSettings), claims: pool(claims, claimSettings) };
}
