import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type pg from 'pg';
import { isLockTimeout } from './db.ts';
import { codeOf, messageOf, UsageError } from '../errors.ts';
import { longestSchema } from '../address.ts';
import { namesOf, type Names } from './names.ts';
import { withRetries } from '../retry.ts';
import { loadStatements, query, quoted } from './sql.ts';

const statements = loadStatements(import.meta.dirname, 'migrate.sql', ['objects', 'after_migration', 'ledger']);

/**
 * Applies the SQL files of `migrations/` that this database has not seen, in the order of their names, in one
 * transaction: all or none. Applied files must not change; checksums verify that. All objects are created in one
 * schema, and functions are pinned to it. What a file creates is closed to the public (0000_closed.sql). In a file,
 * `:"tickets"` and `:'workers'` stand for the names that belong to the schema, see names.ts.
 *
 * A subfolder is a set of its own. It is applied if it was asked for, or if an earlier file of it was applied. Its
 * files are known as `<set>/<file>`.
 *
 * This is our own code, because libraries that run plain SQL files keep no checksums, or fail instead of waiting.
 */
export type Migration = { name: string; sql: string; checksum: string };

/**
 * How long a migration waits for a lock on a table. Everybody who comes later waits behind it: `ALTER TABLE` behind a
 * long transaction would block every insert until that transaction ends.
 */
const lockTimeoutMs = 100;
const giveUpAfterMs = 120_000;

/**
 * Runs `work` in a transaction, while no other process does so on the same schema. If it does not get a lock on a table
 * in time, it tries again after a pause.
 * @param wanted the schema, created if it is missing; undefined: the first of search_path
 * @throws UsageError if there is no schema, if its name is too long, or if a table was locked for too long
 */
export async function whileMigrating<T>(
  client: pg.Client,
  wanted: string | undefined,
  work: (names: Names) => Promise<T>,
): Promise<T> {
  const schema = wanted ?? (await currentSchema(client));
  if (Buffer.byteLength(schema) > longestSchema)
    throw new UsageError(`The name of schema ${schema} is too long: ${longestSchema} bytes at most`);
  const attempt = () => inTransaction(client, schema, () => work(namesOf(schema)));
  const passing = (error: unknown) => (isHeldUp(error) ? {} : undefined);
  try {
    return await withRetries(attempt, passing, undefined, { waitMs: 300, longestMs: 4_000, budgetMs: giveUpAfterMs });
  } catch (error) {
    throw isHeldUp(error) ? new UsageError(await heldBy(client, error, schema), { cause: error }) : error;
  }
}

/** Another process created the schema or the ledger in the meantime. */
class Overtaken extends Error {}

/** A lock was not granted in time, a deadlock with a transaction of the user, or another process that migrates. */
function isHeldUp(error: unknown): boolean {
  const cause = error instanceof Error && error.cause ? error.cause : error;
  return isLockTimeout(cause) || codeOf(cause) === '40P01' || cause instanceof Overtaken;
}

/** @throws UsageError if the first schema of search_path does not exist */
export async function currentSchema(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ schema: string | null }>('select current_schema() as schema');
  if (rows[0]?.schema) return rows[0].schema;
  throw new UsageError(
    'The database has no schema to create tables in: the first schema of search_path does not exist. ' +
      'Create it, or set ROWMILL_SCHEMA.',
  );
}

async function inTransaction<T>(client: pg.Client, schema: string, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    await takeTurn(client, schema);
    await client.query(`select set_config('lock_timeout', $1, true)`, [String(lockTimeoutMs)]);
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

/**
 * Waits until no other process migrates this schema, and makes others wait until the transaction ends. It locks our own
 * table: any role of the database could take an advisory lock and keep it for ever.
 */
async function takeTurn(client: pg.Client, schema: string): Promise<void> {
  try {
    // Checked first: `create schema if not exists` needs a right that the owner of an existing schema may lack.
    const made = await client.query('select from pg_namespace where nspname = $1', [schema]);
    if (made.rowCount === 0) await client.query(`create schema ${quoted(schema)}`);
    // "set search_path from current" in a function pins this: no schema of the caller's, and temporary tables last.
    await client.query(`select set_config('search_path', pg_catalog.format('%I, pg_temp', $1::text), true)`, [schema]);
    const lockable = await openLedger(
      client,
      schema,
      'rowmill_migrations',
      'The migration files that this database has seen.',
    );
    if (lockable) await client.query('lock table rowmill_migrations in share row exclusive mode');
  } catch (error) {
    if (/^(23505|42P06|42P07)$/.test(codeOf(error) ?? '')) throw new Overtaken(messageOf(error));
    throw error;
  }
}

/**
 * Makes the table of applied files where it is missing.
 * @returns whether the role may write to a table that was there
 */
export async function openLedger(client: pg.Client, schema: string, table: string, about: string): Promise<boolean> {
  const [found] = await query<Ledger>(client, statements.ledger, { schema, table });
  if (found && !found.trusted)
    throw new UsageError(
      `Table ${table} of schema ${schema} is owned by ${found.owner}, whose triggers would run as you: ` +
        'drop it, or connect as its owner.',
    );
  if (found) return found.lockable;
  await client.query(
    `create table ${table} (
       name text primary key, checksum text not null, applied_at timestamptz not null default now());
     alter table ${table} enable row level security;
     comment on table ${table} is '${about}'`,
  );
  return false;
}

type Ledger = { owner: string; trusted: boolean; lockable: boolean };

/** For a person: which session has held locks in this schema for the longest time. */
async function heldBy(client: pg.Client, error: unknown, schema: string): Promise<string> {
  const { rows } = await client.query<{ table: string; pid: number; seconds: number | null }>(
    `select l.relation::regclass::text as table, l.pid,
            round(extract(epoch from clock_timestamp() - a.xact_start))::int as seconds
       from pg_locks l
       join pg_class c on c.oid = l.relation and c.relkind in ('r', 'p')
       join pg_namespace n on n.oid = c.relnamespace and n.nspname = $1
       left join pg_stat_activity a on a.pid = l.pid
      where l.granted and l.pid <> pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
      order by a.xact_start limit 1`,
    [schema],
  );
  const [holder] = rows;
  const who = holder ? `: session ${holder.pid} holds ${holder.table}, for ${holder.seconds ?? '?'} s` : '';
  const tried = `Tried for ${giveUpAfterMs / 1_000} s, nothing was changed${who}`;
  return `${messageOf(error)}. ${tried}. End that transaction and start again`;
}

/**
 * The files that are to be applied, in order.
 * @param sets folders that are applied only if asked for
 * @throws UsageError if there is no such set, or an applied file has changed
 */
export async function pendingMigrations(
  client: pg.Client,
  dir: string,
  { schema }: Names,
  sets: string[] = [],
): Promise<Migration[]> {
  const applied = await appliedMigrations(client, schema);
  const known = migrationSets(dir);
  const unknown = sets.filter((set) => !known.includes(set));
  if (unknown.length > 0)
    throw new UsageError(`There is no set of tables named ${unknown.join(', ')}: there are ${known.join(', ')}`);
  const wanted = known.filter((set) => sets.includes(set) || hasSet(applied, set));
  const pending = [];
  for (const file of [...migrationFiles(dir), ...wanted.flatMap((set) => migrationFiles(dir, set))]) {
    if (isPending(file, applied)) pending.push(file);
  }
  return pending;
}

/** @throws UsageError if the file was applied and has changed since */
export function isPending({ name, checksum }: Migration, applied: ReadonlyMap<string, string>): boolean {
  const before = applied.get(name);
  if (before !== undefined && before !== checksum)
    throw new UsageError(
      `${name} was changed after it was applied to this database. Undo the change and add a new migration.`,
    );
  return before === undefined;
}

/**
 * The applied files that this version does not have, although they come before its last one. A newer release does not
 * make such a database, because released files are never removed: an unreleased version made it.
 */
export function unreleasedMigrations(applied: Iterable<string>, dir: string): string[] {
  const files = migrationFiles(dir).map(({ name }) => name);
  return [...applied].filter((name) => !name.includes('/') && !files.includes(name) && name < files.at(-1)!).toSorted();
}

/** In this schema: search_path may lead to another Rowmill's. */
export async function appliedMigrations(
  client: pg.Client,
  schema: string,
  ledger = 'rowmill_migrations',
): Promise<Map<string, string>> {
  const table = await client.query(`select from pg_tables where schemaname = $1 and tablename = $2`, [schema, ledger]);
  if (table.rowCount === 0) return new Map();
  const { rows } = await client.query<{ name: string; checksum: string }>(
    `select name, checksum from ${quoted(schema)}.${ledger}`,
  );
  return new Map(rows.map((row) => [row.name, row.checksum]));
}

/** The migration files, in order; without a set, those that every database gets. */
export function migrationFiles(dir: string, set = ''): Migration[] {
  return readdirSync(join(dir, set))
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .toSorted()
    .map((name) => readMigration(join(dir, set, name), posix.join(set, name)));
}

export function readMigration(path: string, name: string): Migration {
  const sql = readFileSync(path, 'utf8');
  return { name, sql, checksum: createHash('sha256').update(sql).digest('hex') };
}

/** The sets that may be asked for. */
export function migrationSets(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

/** Whether a file of the set was applied, judged by the names of the applied files. */
export const hasSet = (applied: ReadonlyMap<string, unknown>, set: string) =>
  applied.keys().some((name) => name.startsWith(`${set}/`));

/** In the transaction that `client` is in. @returns the names applied */
export async function applyMigrations(client: pg.Client, names: Names, files: Migration[]): Promise<string[]> {
  if (files.length === 0) return [];
  const fresh = (await client.query('select from rowmill_migrations limit 1')).rowCount === 0;
  const there = (await objects(client)).filter(({ object }) => !fresh || object !== 'table rowmill_migrations');
  let before = new Set(there.map(({ id }) => id));
  for (const file of files) {
    try {
      await client.query(filledIn(file.sql, names));
      const now = await objects(client);
      await query(client, statements.after_migration, {
        made: now.filter(({ id }) => !before.has(id)).map(({ object }) => object),
      });
      before = new Set(now.map(({ id }) => id));
      await client.query('insert into rowmill_migrations (name, checksum) values ($1, $2)', [file.name, file.checksum]);
    } catch (error) {
      throw new Error(`${file.name} could not be applied: ${messageOf(error)}`, { cause: error });
    }
  }
  return files.map((file) => file.name);
}

const objects = (client: pg.Client) => query<{ id: string; object: string }>(client, statements.objects);

/** Replaces variables as psql does: `:"tickets"` is a name, `:'workers'` a literal. */
const filledIn = (sql: string, { tickets, workers, ended }: Names) =>
  sql
    .replaceAll(':"tickets"', quoted(tickets))
    .replaceAll(":'workers'", `'${workers.replaceAll("'", "''")}'`)
    .replaceAll(":'ended'", `'${ended.replaceAll("'", "''")}'`);
