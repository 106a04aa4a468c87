import { Argument, Command, Option } from 'commander';
import { UsageError } from '../base/errors.ts';
import { listJobs, statuses, type Job, type Status } from '../queue/client/operate.ts';
import { parseSearch, searchHelp } from '../queue/client/search-words.ts';
import { searchSql } from '../queue/client/search-sql.ts';
import { searchJobs, type Found } from '../queue/client/search.ts';
import type { Db } from '../base/db/db.ts';
import { withDatabase } from './database.ts';
import { example, integer, json, withQueue } from './options.ts';
import { note, print, printJson, relative, statusStyle, table, type Column } from './output.ts';

type Options = {
  queue?: string;
  kind?: string;
  status?: Status;
  errorCode?: string;
  limit: number;
  json?: true;
  sql?: true;
};

export const jobs = example(new Command('jobs'), 'rowmill jobs --queue publish --status failed')
  .description('list jobs, the newest first')
  .addArgument(new Argument('[search...]', 'such as queue:media state:failed since:2h; see below'))
  .option('--queue <queue>', 'only of this queue')
  .option('--kind <kind>', 'only of this kind, such as media.image')
  .addOption(new Option('--status <status>', 'only with this status').choices(statuses))
  .option('--error-code <code>', 'only with this as their last failure')
  .option('--limit <n>', 'at most so many', integer(1, 100_000), 20)
  .option('--sql', 'print the search as SQL, and run nothing')
  .addOption(json())
  .addHelpText(
    'after',
    () => `\nA search:\n${searchHelp.map(([word, what]) => `  ${word.padEnd(24)} ${what}`).join('\n')}`,
  )
  .action(async (words: string[], { errorCode, json: asJson, sql, ...options }: Options) => {
    if (sql) return print(searchSql(parseSearch(words.join(' ')), options.limit));
    const filter = { ...withQueue(options), ...(errorCode === undefined ? {} : { error_code: errorCode }) };
    const rows = await withDatabase<(Job | Found)[]>((db) =>
      words.length > 0 ? found(db, words, filter) : listJobs(db, filter),
    );
    if (asJson) return printJson({ jobs: rows });
    if (rows.length === 0) return note('No jobs');
    for (const line of table(rows, columns)) print(line);
    if (rows.length === options.limit) note(`The newest ${options.limit}: see more with --limit`);
  });

/** The options narrow a search further only as its own words. */
async function found(db: Db, words: string[], { limit, ...others }: { limit: number; queue?: string }) {
  if (Object.values(others).some((value) => value !== undefined))
    throw new UsageError(
      'jobs takes either a search or --queue, --kind, --status and --error-code: put them in the search',
    );
  return searchJobs(db, parseSearch(words.join(' ')), { limit });
}

const columns: Column<Job | Found>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'JOB', value: ({ queue, kind }) => `${queue}.${kind}` },
  { title: 'STATUS', value: ({ status }) => status, style: ({ status }) => statusStyle(status) },
  { title: 'ATTEMPT', value: ({ attempt }) => attempt, align: 'right' },
  { title: 'RETRIES', value: ({ retry_count, max_retries }) => `${retry_count} of ${max_retries}` },
  { title: 'WHEN', value: when },
  { title: 'LAST ERROR', value: ({ error_code, error }) => (error_code ? `${error_code}: ${error}` : '') },
];

/** The most telling time of a job with this status. */
function when({ status, run_at, started_at, completed_at, progress }: Job | Found): string {
  switch (status) {
    case 'pending':
      return `due ${relative(run_at)}`;
    case 'processing':
      return `${started_at ? `since ${relative(started_at)}` : ''}${progress === null ? '' : `, ${progress} %`}`;
    case 'completed':
    case 'failed':
    case 'cancelled':
      return completed_at ? relative(completed_at) : '';
  }
}
