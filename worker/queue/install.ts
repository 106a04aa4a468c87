import { join } from 'node:path';
import { Logger, runMigrations } from 'graphile-worker';
import { createClient } from '../base/db.ts';
import { migrate, whileMigrating } from '../base/migrate.ts';
import { refusePooler } from '../base/pooler.ts';

export const migrationsDir = join(import.meta.dirname, '../../migrations');

/**
 * Brings a database up to date: graphile-worker's tables, then ours.
 * @param sets folders of migrations/ that are applied only when asked for
 * @returns the names of our files applied now
 * @throws UsageError where DATABASE_URL leads through a transaction pooler
 */
export async function install(databaseUrl: string, sets: string[] = []): Promise<string[]> {
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    await refusePooler(client, databaseUrl);
    return await whileMigrating(client, async () => {
      await runMigrations({ connectionString: databaseUrl, logger: new Logger(() => () => {}) });
      return migrate(client, migrationsDir, sets);
    });
  } finally {
    await client.end();
  }
}
