import { appConnections } from '../app.ts';
import { createPool } from '../base/db.ts';
import type { Log } from '../base/log.ts';

/** For tickets and starts. */
const claimConnections = 4;
/** For what ends attempts, and for the watch over the fleet. */
const ledgerConnections = 3;
/** The connections that a process opens at most: handlers and upkeep have the app's, the membership has a session of its own. */
export const processConnections = appConnections + claimConnections + ledgerConnections + 1;

/**
 * What the engine's connections set. Its statements find a few rows of large tables by their keys: they always go by index and one row
 * at a time, whatever the statistics of a fresh table say. Up to Postgres 17 forbidden plans look so costly that they would be compiled
 * first, or planned anew each time; both take longer than to run them. Rows that somebody holds locked are asked for again and again, so that
 * they keep no connection from the others.
 */
const engineSettings = [
  'set enable_seqscan = off',
  'set enable_bitmapscan = off',
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set jit = off',
  'set plan_cache_mode = force_generic_plan',
  'set lock_timeout = 100',
].join('; ');
/** A claim or a start that is lost when Postgres crashes is made again, so it need not wait for the disk. What ends an attempt does. */
const claimSettings = `${engineSettings}; set synchronous_commit = off`;

export function openEnginePools(databaseUrl: string, log: Log) {
  const pool = (max: number, setUp: string) => createPool(databaseUrl, { max, log, setUp, queryTimeoutMs: 30_000 });
  return { db: pool(ledgerConnections, engineSettings), claims: pool(claimConnections, claimSettings) };
}
