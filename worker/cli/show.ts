import { Argument, Command } from 'commander';
import { showJob, type JobError } from '../queue/client/operate.ts';
import { withDatabase } from './database.ts';
import { Failed } from './faults.ts';
import { example, jobId, json } from './options.ts';
import { pad, paint, plain, print, printJson, relative, statusStyle, table, type Column } from './output.ts';

export const show = example(new Command('show'), 'rowmill show 17')
  .description('show all of a job, and why its attempts failed')
  .addArgument(new Argument('<id>', 'its id').argParser(jobId))
  .addOption(json())
  .action(async (id: number, options: { json?: true }) => {
    const job = await withDatabase((db) => showJob(db, id));
    if (!job) throw new Failed(`There is no job ${id}`);
    if (options.json) return printJson(job);

    const { errors, ...columns } = job;
    for (const [name, value] of Object.entries(columns)) {
      const shown = name === 'status' ? paint(statusStyle(job.status), job.status) : inWords(value);
      print(`${paint('dim', pad(name, 13))} ${shown}`);
    }
    if (errors.length === 0) return;
    print();
    for (const line of table(errors, errorColumns)) print(line);
    const stack = errors.findLast((error) => error.stack)?.stack;
    if (stack) for (const line of ['', ...stack.split('\n')]) print(paint('dim', plain(line)));
  });

function inWords(value: unknown): string {
  if (value === null) return '-';
  if (value instanceof Date) return `${value.toISOString()}  ${paint('dim', relative(value))}`;
  return plain(typeof value === 'string' ? value : JSON.stringify(value));
}

const errorColumns: Column<JobError>[] = [
  { title: 'ATTEMPT', value: ({ attempt }) => attempt, align: 'right' },
  { title: 'FAILED AT', value: ({ failed_at }) => failed_at.toISOString() },
  { title: 'AFTER', value: took },
  { title: 'ERROR', value: ({ error_code, error }) => `${error_code}: ${error}`, style: () => 'red' },
];

function took({ started_at, failed_at }: JobError): string {
  return started_at ? `${((failed_at.getTime() - started_at.getTime()) / 1_000).toFixed(1)} s` : '';
}
