import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, ok, warn, type Check } from './check.ts';

const dir = join(import.meta.dirname, '../../../migrations');

/** @param seen what the database says was applied, as base/migrate.ts wrote it down */
export function checkMigrations(seen: { name: string; checksum: string }[]): Check {
  const files = readdirSync(dir)
    .filter((name) => /^\d{4}_\w+\.sql$/.test(name))
    .toSorted()
    .map((name) => ({
      name,
      checksum: createHash('sha256')
        .update(readFileSync(join(dir, name)))
        .digest('hex'),
    }));
  const applied = new Map(seen.map(({ name, checksum }) => [name, checksum]));

  const changed = files.filter(({ name, checksum }) => applied.has(name) && applied.get(name) !== checksum);
  if (changed.length > 0)
    return fail(
      'migrations',
      `changed after they were applied: ${names(changed)}`,
      'undo the change, and add a new migration',
    );
  const missing = files.filter(({ name }) => !applied.has(name));
  if (missing.length > 0) return fail('migrations', `not applied: ${names(missing)}`, 'run rowmill migrate');
  const unknown = seen.filter(({ name }) => !files.some((file) => file.name === name));
  if (unknown.length > 0)
    return warn('migrations', `the database is newer than this program: ${names(unknown)}`, 'update this program');
  return ok('migrations', `all ${files.length} applied, none changed`);
}

const names = (files: { name: string }[]) => files.map(({ name }) => name).join(', ');
