import type { Hono } from 'hono';
import type { App } from '../../app.ts';
import { createPool, type Db } from '../../base/db/db.ts';
import type { Bridges } from '../../bridges/bridges.ts';
import type { Registry } from '../../queue/registry.ts';
import type { Worker } from '../../queue/worker.ts';
import type { Env } from './access.ts';
import { createLive, type Live } from './live.ts';
import { createShared, type Shared } from './shared.ts';

/** What a page is added to. */
export type Http = Hono<Env>;

/** What the pages may use. */
export type House = {
  app: App;
  /** Connections of the dashboard's own: a slow page takes none from jobs, and its statements end after 5 s. */
  db: Db;
  worker: Pick<Worker, 'id' | 'activity' | 'incidents' | 'trouble'>;
  registry: Registry;
  bridges: Pick<Bridges, 'states'> | undefined;
  /** What pages show without being loaded again. */
  live: Live;
  shared: Shared;
};

/** How long a statement of a page may take. */
const statementMs = 5_000;
/**
 * `search_jobs` has conditions that are only good for the values at hand: a plan for all values would scan the archive.
 */
const setUp = [`statement_timeout = ${statementMs}`, 'lock_timeout = 2000', 'plan_cache_mode = force_custom_plan']
  .map((setting) => `set ${setting}`)
  .join('; ');

export function createHouse(
  app: App,
  databaseUrl: string,
  parts: Pick<House, 'worker' | 'registry' | 'bridges'>,
): House {
  const { log, instance } = app;
  const db = createPool(databaseUrl, { max: 3, log, instance, setUp, queryTimeoutMs: 2 * statementMs });
  return { ...parts, app, db, live: createLive(log), shared: createShared(db) };
}
