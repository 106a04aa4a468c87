import { Command, Option } from 'commander';
import { listJobs, statuses, type Job, type Status } from '../queue/client/operate.ts';
import { withDatabase } from './database.ts';
import { example, integer, json, withQueue } from './options.ts';
import { note, print, printJson, relative, statusStyle, table, type Column } from './output.ts';

type Options = { queue?: string; kind?: string; status?: Status; errorCode?: string; limit: number; json?: true };

export const jobs = example(new Command('jobs'), 'rowmill jobs --queue publish --status failed')
  .description('list jobs, the newest first')
  .option('--queue <queue>', 'only of this queue')
  .option('--kind <kind>', 'only of this kind, such as media.image')
  .addOption(new Option('--status <status>', 'only with this status').choices(statuses))
  .option('--error-code <code>', 'only with this as their last failure')
  .option('--limit <n>', 'at most so many', integer(1, 100_000), 20)
  .addOption(json())
  .action(async ({ errorCode, json: asJson, ...options }: Options) => {
    const filter = { ...withQueue(options), ...(errorCode === undefined ? {} : { error_code: errorCode }) };
    const rows = await withDatabase((db) => listJobs(db, filter));
    if (asJson) return printJson({ jobs: rows });
    if (rows.length === 0) return note('No jobs');
    for (const line of table(rows, columns)) print(line);
    if (rows.length === options.limit) note(`The newest ${options.limit}: see more with --limit`);
  });

const columns: Column<Job>[] = [
  { title: 'ID', value: ({ id }) => id, align: 'right' },
  { title: 'JOB', value: ({ queue, kind }) => `${queue}.${kind}` },
  { title: 'STATUS', value: ({ status }) => status, style: ({ status }) => statusStyle(status) },
  { title: 'ATTEMPT', value: ({ attempt }) => attempt, align: 'right' },
  { title: 'RETRIES', value: ({ retry_count, max_retries }) => `${retry_count} of ${max_retries}` },
  { title: 'WHEN', value: when },
  { title: 'LAST ERROR', value: ({ error_code, error }) => (error_code ? `${error_code}: ${error}` : '') },
];

/** The most telling time of a job with this status. */
function when({ status, run_at, started_at, completed_at, progress }: Job): string {
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
