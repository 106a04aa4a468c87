import { literal } from '../../base/db/sql.ts';
import type { Search } from './search-words.ts';

// A search as SQL that people can run and change.

/** The same jobs as `searchJobs` finds, the newest first. */
export function searchSql(search: Search, limit = 50): string {
  const conditions = conditionsOf(search);
  const where = conditions.length === 0 ? [] : [` where ${conditions.join('\n   and ')}`];
  return ['select *', '  from jobs', ...where, ' order by id desc', ` limit ${limit};`].join('\n');
}

const list = (values: readonly string[]) => values.map(literal).join(', ');
const some = (columns: string[], patterns: string[], operator: 'like' | 'ilike') => {
  const each = columns.flatMap((column) => patterns.map((pattern) => `${column} ${operator} ${literal(pattern)}`));
  return each.length === 1 ? each[0]! : `(${each.join(' or ')})`;
};

function conditionsOf({ queues, kinds, states, errors, ids, workers, keys, files, ...others }: Search): string[] {
  const { payload, text, since, before } = others;
  const when = 'coalesce(completed_at, created_at)';
  const each = (column: string) => text!.map((pattern) => `${column} ilike ${literal(pattern)}`).join(' and ');
  return [
    queues && `queue in (${list(queues)})`,
    kinds && some(['kind', `queue || '.' || kind`], kinds, 'like'),
    states && `status in (${list(states)})`,
    errors && some(['error_code'], errors, 'like'),
    ids && `id in (${ids.join(', ')})`,
    keys && `id in (select job_id from job_keys where dedupe_key in (${list(keys)}))`,
    files && `file_id in (${list(files)})`,
    since && `${when} >= ${literal(since.toISOString())}`,
    before && `${when} < ${literal(before.toISOString())}`,
    workers && `locked_by in (select id from workers where ${some(['id::text', 'host'], workers, 'like')})`,
    text && `(${each('left(error, 4000)')} or ${each('dedupe_key')})`,
    payload && `payload @@ ${literal(payload)}`,
  ].filter((condition) => condition !== undefined);
}
