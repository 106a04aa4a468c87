import { join } from 'node:path';
import { readAddress } from '../../base/address.ts';
import { createClient, type Client } from '../../base/db/db.ts';
import {
  appliedMigrations,
  applyMigrations,
  currentSchema,
  pendingMigrations,
  unreleasedMigrations,
  whileMigrating,
} from '../../base/db/migrate.ts';
import { applyOwnMigrations, pendingOwnMigrations } from '../../base/db/migrate-own.ts';
import { UsageError } from '../../base/errors.ts';
import { namesOf, type Names } from '../../base/db/names.ts';
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

export type Planned = {
  name: string;
  /** What the file says of itself: its first paragraph. Empty if it begins without a comment. */
  what: string;
  /** What it says of locks; undefined if it says nothing. */
  locks: string | undefined;
};

/**
 * What `install` would apply, in order. Changes nothing, and waits for no lock.
 * @throws UsageError as `install`
 */
export async function planInstall(databaseUrl: string, sets: string[] = [], ownDir?: string): Promise<Planned[]> {
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    await client.query('begin transaction read only');
    const names = namesOf(readAddress(databaseUrl).schema ?? (await currentSchema(client)));
    await refuseUnreleased(client, names);
    const ours = await pendingMigrations(client, migrationsDir, names, sets);
    const own = ownDir === undefined ? [] : await pendingOwnMigrations(client, names.schema, ownDir);
    return [...ours, ...own].map(({ name, sql }) => ({ name, ...aboutOf(sql) }));
  } finally {
    await client.end();
  }
}

/** Of the comment that a migration begins with. */
function aboutOf(sql: string): Omit<Planned, 'name'> {
  const [head = ''] = /^(--.*\n)*/.exec(sql) ?? [];
  const paragraphs = head
    .split(/^--\s*$/m)
    .map((lines) => lines.replaceAll(/^-- ?/gm, '').replaceAll(/\s+/g, ' ').trim());
  const locks = /Locks: (.*?\.)(?= Undo:|$)/.exec(paragraphs.find((each) => each.startsWith('Locks:')) ?? '')?.[1];
  return { what: paragraphs[0]!, locks };
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
