import { readJointly, type Read } from '../base/db/joint.ts';
import type { Queryable } from '../base/db/sql.ts';
import { coalesce } from './run/coalesce.ts';

/**
 * What a worker reads again and again. Reads that are asked for in the same turn of the event loop go together, as one
 * statement. If that fails, each is asked for alone, so a locked table does not hold up the others.
 * @param session is asked at the time of each statement
 */
export function jointReads(session: () => Queryable): Queryable {
  const read = coalesce<Read, { rows: object[] }>(
    async (reads) => (await readJointly(session(), reads)).map((rows) => ({ rows })),
    { max: 20, parallel: 1 },
  );
  return { query: read as Queryable['query'] };
}
