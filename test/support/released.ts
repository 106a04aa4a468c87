import { join } from 'node:path';
import { migrationFiles, migrationSets, type Migration } from '../../worker/base/db/migrate.ts';
import { migrationsDir } from '../../worker/queue/install/install.ts';

/** The migrations that were released, by name, with the SHA-256 of each. */
export type Released = Record<string, string>;
export const releasedFile = join(migrationsDir, 'released.json');

/** The migrations of all sets. */
export const allMigrations = (dir: string): Migration[] =>
  ['', ...migrationSets(dir)].flatMap((set) => migrationFiles(dir, set));

/** What was done to released migrations that must not be done to them; a sentence each. */
export function changedReleases(released: Released, files: Migration[]): string[] {
  const found = new Map(files.map(({ name, checksum }) => [name, checksum]));
  return Object.entries(released).flatMap(([name, checksum]) => {
    if (found.get(name) === checksum) return [];
    const what = found.has(name) ? 'was changed' : 'is missing';
    return [
      `migrations/${name} was released and ${what}: a database that has applied it would not start. ` +
        'Put it back as it was, and write a new migration for the change.',
    ];
  });
}
