import type { App } from '../../app.ts';
import { setByIndex } from '../../base/db/by-index.ts';
import { createPool } from '../../base/db/db.ts';

/**
 * The settings of the engine's connections. A locked row is waited for only briefly and asked for again, so that it
 * keeps no connection from the others.
 */
export const engineSettings = `${setByIndex}; set lock_timeout = 100`;
export const engineTimeoutMs = 30_000;
/**
 * If a claim or a start is lost when Postgres crashes, it is made again, so it need not wait for the disk. The outcome
 * of an attempt must. graphile-worker qualifies its own names, so with this search_path it calls no function that
 * another role may have created in the schema of our tables.
 */
const claimSettings = `${engineSettings}; set synchronous_commit = off; set search_path = pg_catalog, pg_temp`;

export function openEnginePools({ config, instance, log }: App, databaseUrl: string) {
  const pool = (max: number, setUp: string) =>
    createPool(databaseUrl, { max, log, setUp, instance, queryTimeoutMs: engineTimeoutMs });
  const { claims, ledger } = config.connections;
  return { db: pool(ledger, engineSettings), claims: pool(claims, claimSettings) };
}
