import type { Db } from '../../base/db/db.ts';
import { transaction } from '../../base/db/db.ts';
import { codeOf, UsageError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import type { Search } from './search-words.ts';
import type { Status } from './operate.ts';

// Finds jobs: `queue:media state:failed since:2h`. search-words.ts has the words.

const sql = loadStatements(import.meta.dirname, 'search.sql', ['bound', 'search_jobs', 'count_jobs', 'next_jobs']);

/** A job of a list: without payload and result, which may be large. */
export type Found = {
  id: number;
  queue: string;
  kind: string;
  status: Status;
  priority: number;
  attempt: number;
  retry_count: number;
  max_retries: number;
  run_at: Date;
  created_at: Date;
  started_at: Date | null;
  completed_at: Date | null;
  progress: number | null;
  error_code: string | null;
  /** Its beginning. */
  error: string | null;
  locked_by: string | null;
};

/** How long a search may take before the user must narrow it. */
const searchMs = 900;

/**
 * The newest jobs that match.
 * @param below only those with smaller ids: the next page
 * @throws SearchError for a search with a fault; UsageError if it takes too long
 */
export async function searchJobs(
  db: Db,
  search: Search,
  { below, limit }: { below?: number | undefined; limit: number },
): Promise<Found[]> {
  return bounded(db, searchMs, (tx) =>
    query<Found>(tx, sql.search_jobs, { ...paramsOf(search), below: below ?? null, limit }),
  );
}

/** How many match, counted up to `most`. Null: it would take too long. */
export async function countJobs(db: Db, search: Search, { most, ms }: { most: number; ms: number }) {
  try {
    const [row] = await bounded(db, ms, (tx) =>
      query<{ jobs: number; last_id: number | null }>(tx, sql.count_jobs, { ...paramsOf(search), most }),
    );
    return row!;
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

/** The ids of the next jobs that match, in their order. Within the caller's transaction. */
export async function nextJobs(
  tx: Queryable,
  search: Search,
  range: { after: number; until: number; limit: number },
): Promise<number[]> {
  const found = await query<{ id: number }>(tx, sql.next_jobs, { ...paramsOf(search), ...range });
  return found.map(({ id }) => id);
}

/** Its plan is made for the values at hand: one for all values would read the archive in vain. */
async function bounded<T>(db: Db, ms: number, work: (tx: Queryable) => Promise<T>): Promise<T> {
  try {
    return await transaction(db, async (tx) => {
      await query(tx, sql.bound, { ms: String(ms) });
      return work(tx);
    });
  } catch (error) {
    if (codeOf(error) !== '57014') throw error;
    throw new UsageError(
      `The search took more than ${ms / 1_000} s: narrow it, for example with queue:, state: or since:1h`,
      { cause: error },
    );
  }
}

function paramsOf({ queues, kinds, states, errors, ids, workers, keys, files, payload, text, since, before }: Search) {
  return {
    queues: queues ?? null,
    kinds: kinds ?? null,
    states: states ?? null,
    errors: errors ?? null,
    ids: ids ?? null,
    workers: workers ?? null,
    keys: keys ?? null,
    files: files ?? null,
    payload: payload ?? null,
    texts: text ?? null,
    since: since ?? null,
    before: before ?? null,
  };
}
