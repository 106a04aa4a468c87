import type { Session } from '../../base/db/pooler.ts';
import { loadStatements } from '../../base/db/sql.ts';
import { ok, warn, type Check } from './check.ts';

const sql = loadStatements(import.meta.dirname, 'search.sql', ['archives']);

type Archive = { name: string; jobs: number; searchable: boolean };

/** Whether large archives can be searched by payload within the time of a search. */
export async function checkSearch(session: Session): Promise<Check> {
  return judgeArchives((await session.query(sql.archives.text)).rows as Archive[]);
}

function judgeArchives(archives: Archive[]): Check {
  const slow = archives.filter(({ searchable }) => !searchable);
  if (slow.length === 0) return ok('search', 'no archive is too large to be searched by payload');
  const told = slow.map(({ name, jobs }) => `${name} (about ${Math.round(jobs / 1e6)} million jobs)`).join(', ');
  const index = slow.map(({ name }) => `create index concurrently on ${name} using gin (payload jsonb_path_ops)`);
  return warn(
    'search',
    `a search by payload:, without since: or state:failed, reads all of ${told}`,
    `if you need such searches: ${index.join('; ')}`,
  );
}
