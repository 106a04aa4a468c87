import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { codeOf, messageOf, UsageError } from '../errors.ts';
import { appliedMigrations, isPending, openLedger, readMigration, type Migration } from './migrate.ts';
import type { Names } from './names.ts';
import { quoted } from './sql.ts';

/**
 * Applies the SQL files of a folder of the user's, for tables of the user's own kinds. They have a ledger of their own,
 * so that their names cannot collide with those of Rowmill's files. They run as they are, and create their objects in
 * the schema of Rowmill's tables.
 */
const ledger = 'rowmill_own_migrations';

/**
 * Applies the files that this database has not seen, in the order of their numbers, in the transaction that `client` is
 * in.
 * @returns the names applied
 * @throws UsageError for a folder that cannot be read, a name without a number, a file that was changed after it was
 *   applied, and for an error of a statement
 */
export async function applyOwnMigrations(client: pg.Client, { schema }: Names, dir: string): Promise<string[]> {
  const pending = await pendingOwnMigrations(client, schema, dir);
  if (pending.length === 0) return [];
  await openLedger(client, schema, ledger, 'The migration files of the application that this database has seen.');
  await client.query('select after_migration($1)', [[`table ${ledger}`]]);
  for (const { name, sql, checksum } of pending) {
    try {
      await client.query(sql);
      await client.query(`select set_config('search_path', pg_catalog.format('%I, pg_temp', $1::text), true)`, [
        schema,
      ]);
    } catch (error) {
      throw refusal(error, { name, sql, checksum }, dir);
    }
    await client.query(`insert into ${quoted(schema)}.${ledger} (name, checksum) values ($1, $2)`, [name, checksum]);
  }
  return pending.map(({ name }) => name);
}

/** The files of the folder that this database has not seen, in order. @throws UsageError as applyOwnMigrations */
export async function pendingOwnMigrations(client: pg.Client, schema: string, dir: string): Promise<Migration[]> {
  const files = ownMigrationFiles(dir);
  const applied = await appliedMigrations(client, schema, ledger);
  return files.filter((file) => isPending(file, applied));
}

/** @throws UsageError for a folder that cannot be read, and for a file without a number in its name */
function ownMigrationFiles(dir: string): Migration[] {
  const names = namesIn(dir).filter((name) => name.endsWith('.sql'));
  const wrong = names.find((name) => !/^\d+_/.test(name));
  if (wrong !== undefined)
    throw new UsageError(
      `${join(dir, wrong)} has no place in the order of migrations: ` +
        `begin its name with a number, such as 0001_${wrong}`,
    );
  const numbered = names.map((name) => ({ name, number: BigInt(name.split('_', 1)[0]!) }));
  numbered.sort((a, b) => Number(a.number - b.number) || (a.name < b.name ? -1 : 1));
  return numbered.map(({ name }) => readMigration(join(dir, name), name));
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    throw new UsageError(`The folder of migrations ${dir} cannot be read (${codeOf(error)})`, { cause: error });
  }
}

/** Names the line that Postgres reports. A lock timeout is passed on to the caller, who tries again. */
function refusal(error: unknown, { name, sql }: Migration, dir: string): Error {
  const { position } = error as { position?: string };
  const line = position === undefined ? '' : `:${sql.slice(0, Number(position)).split('\n').length}`;
  const words = `${join(dir, name)}${line} could not be applied: ${messageOf(error)}. Nothing was changed.`;
  return new UsageError(words, { cause: error });
}
