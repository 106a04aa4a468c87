import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type pg from 'pg';
import { UsageError } from './errors.ts';
import { loadStatements, query } from './sql.ts';

const statements = loadStatements(import.meta.dirname, 'migrate.sql');

/**
 * Applies the plain SQL files of `migrations/` that this database has not seen, in order of their name, each in a transaction.
 * Safe to start in several processes at once: they wait for each other. Applied files must not change; that is verified.
 * Objects land in the first schema of the connection's search_path, and functions are pinned to it. What a file made is closed to the public
 * (0000_closed.sql).
 *
 * A folder inside is a set of its own, applied where it is asked for, and where an earlier one of it was: its files are known as
 * `<set>/<file>`.
 *
 * Our own and no library's, because those that run plain files as they are keep no checksums, or fail instead of waiting.
 *
 * @returns the names applied now
 * @throws UsageError when there is no such set, an applied file has changed, or the connection has no schema to create in
 */
export async function migrate(client: pg.Client, dir: string, sets: string[] = []): Promise<string[]> {
  let there = await objectIds(client);
  await createTable(client);
  const seen = await client.query<{ name: string; checksum: string }>('select name, checksum from rowmill_migrations');
  const applied = new Map(seen.rows.map((row) => [row.name, row.checksum]));

  const known = migrationSets(dir);
  const unknown = sets.filter((set) => !known.includes(set));
  if (unknown.length > 0)
    throw new UsageError(`There is no set of tables named ${unknown.join(', ')}: there are ${known.join(', ')}`);
  const wanted = known.filter((set) => sets.includes(set) || hasSet(applied, set));
  const fresh = [];
  for (const file of [...migrationFiles(dir), ...wanted.flatMap((set) => migrationFiles(dir, set))]) {
    const checksum = applied.get(file.name);
    if (checksum === undefined) fresh.push(file);
    else if (checksum !== file.checksum)
      throw new UsageError(
        `${file.name} was changed after it was applied to this database. Undo the change and add a new migration.`,
      );
  }
  for (const file of fresh) there = await apply(client, file, there);
  return fresh.map((file) => file.name);
}

/** Runs `work` while no other process that calls this on the same database does. */
export async function whileMigrating<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query(`select pg_advisory_lock(hashtextextended('rowmill migrate', 0))`);
  try {
    const { rows } = await client.query<{ schema: string | null }>('select current_schema() as schema');
    if (!rows[0]?.schema)
      throw new UsageError(
        'The database has no schema to create tables in: the first schema of search_path does not exist.',
      );
    return await work();
  } finally {
    await client.query(`select pg_advisory_unlock(hashtextextended('rowmill migrate', 0))`);
  }
}

/** Only where it is missing: a backup that runs holds locks that an `alter table` would wait for. */
async function createTable(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ exists: boolean }>(
    `select to_regclass('rowmill_migrations') is not null as exists`,
  );
  if (rows[0]?.exists) return;
  await client.query(`
    create table rowmill_migrations (
      name text primary key, checksum text not null, applied_at timestamptz not null default now());
    alter table rowmill_migrations enable row level security;
    comment on table rowmill_migrations is 'The migration files that this database has seen.'`);
}

type MigrationFile = { name: string; sql: string; checksum: string };

/** The migration files there are, in order; without a set those that every database gets. */
export function migrationFiles(dir: string, set = ''): MigrationFile[] {
  return readdirSync(join(dir, set))
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .toSorted()
    .map((name) => {
      const sql = readFileSync(join(dir, set, name), 'utf8');
      return { name: posix.join(set, name), sql, checksum: createHash('sha256').update(sql).digest('hex') };
    });
}

/** The sets that may be asked for. */
export function migrationSets(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

/** Whether a file of the set was applied, as the names of the applied ones say. */
export const hasSet = (applied: ReadonlyMap<string, unknown>, set: string) =>
  applied.keys().some((name) => name.startsWith(`${set}/`));

/** @returns what is in the schema now */
async function apply(client: pg.Client, file: MigrationFile, before: Set<string>): Promise<Set<string>> {
  await client.query('begin');
  try {
    // "set search_path from current" in a function pins this: no schema of the caller's, and temporary tables last.
    await client.query(`select set_config('search_path', format('%I, pg_temp', current_schema()), true)`);
    await client.query(file.sql);
    const now = await objects(client);
    const made = now.filter(({ id }) => !before.has(id)).map(({ object }) => object);
    await query(client, statements['after_migration']!, { made });
    await client.query('insert into rowmill_migrations (name, checksum) values ($1, $2)', [file.name, file.checksum]);
    await client.query('commit');
    return new Set(now.map(({ id }) => id));
  } catch (error) {
    await client.query('rollback');
    throw new Error(`${file.name} could not be applied: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

const objects = (client: pg.Client) => query<{ id: string; object: string }>(client, statements['objects']!);

const objectIds = async (client: pg.Client) => new Set((await objects(client)).map(({ id }) => id));
