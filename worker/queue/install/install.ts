import { join } from 'node:path';
import { readAddress } from '../../base/address.ts';
import { createClient, type Client } from '../../base/db/db.ts';
import {
  appliedMigrations,
  applyMigrations,
  pendingMigrations,
  unreleasedMigrations,
  whileMigrating,
} from '../../base/db/migrate.ts';
import { applyOwnMigrations } from '../../base/db/migrate-own.ts';
import { UsageError } from '../../base/errors.ts';
import type { Names } from '../../base/db/names.ts';
import { refusePooler } from '../../base/db/pooler.ts';
import { refuseClashes } from './clashes.ts';
import { migrateTickets } from '../claim/tickets.ts';

export const migrationsDir = join(import.meta.dirname, '../../../migrations');

/**
 * Migrates a database: the schema of our tables if the address names one, the tickets' schema, our tables. All or
 * nothing, in one transaction.
 * @param sets folders of migrations/ that are applied only if asked for
 * @param ownDir a folder with migrations of the user's, applied after ours
 * @returns the names of the files applied now
 * @throws UsageError if DATABASE_URL leads through a transaction pooler, or the database has tables that clash with
 *   ours
 */
export async function install(databaseUrl: string, sets: string[] = [], ownDir?: string): Promise<string[]> {
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    await refusePooler(client, databaseUrl);
    return await whileMigrating(client, readAddress(databaseUrl).schema, async (names) => [
      ...(await bringUpToDate(client, names, sets)),
      ...(ownDir === undefined ? [] : await applyOwnMigrations(client, names, ownDir)),
    ]);
  } finally {
    await client.end();
  }
}

async function bringUpToDate(client: Client, names: Names, sets: string[]): Promise<string[]> {
  await refuseUnreleased(client, names);
  const pending = await pendingMigrations(client, migrationsDir, names, sets);
  await refuseClashes(client, names, pending);
  await migrateTickets(client, names);
  return applyMigrations(client, names, pending);
}

async function refuseUnreleased(client: Client, { schema }: Names): Promise<void> {
  const applied = await appliedMigrations(client, schema);
  const unreleased = unreleasedMigrations(applied.keys(), migrationsDir);
  if (unreleased.length === 0) return;
  throw new UsageError(
    `The tables in schema ${schema} were made by an unreleased version of Rowmill, which cannot be upgraded: ` +
      `they have ${unreleased.join(', ')}, and no release has. Nothing was changed. ` +
      `Use an empty database (instead of the embedded one: another DATA_DIR) or another schema (ROWMILL_SCHEMA). ` +
      `sql/README.md says how to move the data.`,
  );
}
