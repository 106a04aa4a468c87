import { hasSet, migrationFiles, migrationSets, unreleasedMigrations } from '../../base/db/migrate.ts';
import { migrationsDir } from '../../queue/install/install.ts';
import { fail, ok, warn, type Check } from './check.ts';

/** @param seen the migrations that the database has recorded as applied */
export function checkMigrations(seen: { name: string; checksum: string }[]): Check {
  const applied = new Map(seen.map(({ name, checksum }) => [name, checksum]));
  const sets = migrationSets(migrationsDir).filter((set) => hasSet(applied, set));
  const files = ['', ...sets].flatMap((set) => migrationFiles(migrationsDir, set));

  const unreleased = unreleasedMigrations(applied.keys(), migrationsDir);
  if (unreleased.length > 0)
    return fail(
      'migrations',
      `an unreleased version made these tables: ${unreleased.join(', ')}`,
      'use an empty database or another schema; sql/README.md says how to move the data',
    );
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
