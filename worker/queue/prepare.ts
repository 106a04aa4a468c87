import type { App } from '../app.ts';
import { readNames, type Names } from '../base/db/names.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { readQueues } from './queues.ts';
import type { Registry } from './registry.ts';
import { checkQueuesOf, servedQueues, type QueueRow } from './served.ts';

const sql = loadStatements(import.meta.dirname, 'prepare.sql', ['apply_settings', 'search_path']);

/** What a worker must know of the database before it starts. */
export type Prepared = {
  /** The queues that it serves. */
  settings: QueueRow[];
  names: Names;
  /** The worker's search_path. */
  path: string;
};

/**
 * Writes the settings of the environment that hold for the fleet, and reads the rest.
 * @throws UsageError if QUEUES or a kind names a queue that the database does not have
 */
export async function readDatabase({ config, db }: App, registry: Registry): Promise<Prepared> {
  const rows = await readQueues(db);
  checkQueuesOf(registry, rows);
  const settings = servedQueues(rows, config.queues);
  await query(db, sql.apply_settings, {
    queues: settings.map(({ name }) => name),
    max_retries: config.maxRetries ?? null,
    backoff_ms: config.backoffMs ?? null,
  });
  const names = await readNames(db);
  const [{ path }] = (await query<{ path: string }>(db, sql.search_path)) as [{ path: string }];
  return { settings, names, path };
}
