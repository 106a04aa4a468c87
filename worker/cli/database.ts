import { join } from 'node:path';
import { lstat } from 'node:fs/promises';
import { withSchema } from '../base/address.ts';
import { loadConfig, type Config } from '../base/config/config.ts';
import { createPool, type Db } from '../base/db/db.ts';
import { UsageError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import { openEmbeddedPostgres } from '../embedded/postgres.ts';
import { Failed } from './faults.ts';

/**
 * Runs a command's work on its database: DATABASE_URL, or the embedded one. The embedded one is started for this
 * command, unless it runs already, for example in another terminal.
 * @throws UsageError in production without DATABASE_URL; Failed if there is no database yet
 */
export async function withDatabase<T>(work: (db: Db) => Promise<T>): Promise<T> {
  return withDatabaseUrl(loadConfig(), async (url) => {
    const db = createPool(url, { max: 1, log: createLog({ logLevel: 'silent', secrets: [] }) });
    try {
      return await work(db);
    } finally {
      await db.end();
    }
  });
}

/** @param make whether to create an embedded database if there is none yet */
export async function withDatabaseUrl<T>(
  config: Config,
  work: (url: string) => Promise<T>,
  { make = false } = {},
): Promise<T> {
  if (config.databaseUrl) return work(config.databaseUrl);
  if (config.production)
    throw new UsageError('DATABASE_URL: must be set in production; the embedded Postgres is for development');
  if (!make && !(await hasEmbedded(config)))
    throw new Failed(
      `There is no database: DATABASE_URL is not set, and there is none in ${config.dataDir}. ` +
        'To create one there, run rowmill migrate',
    );
  const embedded = await openEmbeddedPostgres(config.dataDir);
  try {
    return await work(withSchema(embedded.url, config.schema));
  } finally {
    await embedded.stop();
  }
}

export async function hasEmbedded({ dataDir }: Pick<Config, 'dataDir'>): Promise<boolean> {
  return lstat(join(dataDir, 'postgres')).then(
    () => true,
    () => false,
  );
}
