import { Argument, Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { retryJobs } from '../queue/client/operate.ts';
import { named, reportChanges } from './changes.ts';
import { withDatabase } from './database.ts';
import { example, jobIds, json, withQueue } from './options.ts';
import { count, print, printJson } from './output.ts';

type Options = { failed?: true; queue?: string; kind?: string; errorCode?: string; json?: true };

export const retry = example(
  new Command('retry'),
  'rowmill retry --queue publish --error-code raid_unavailable --failed',
)
  .description('run jobs again, now and with all their retries: those named, or all failed ones of a queue')
  .addArgument(new Argument('[ids...]', 'ids of jobs in any status but processing').argParser(jobIds))
  .option('--failed', 'all failed jobs of a queue')
  .option('--queue <queue>', 'with --failed: of this queue')
  .option('--kind <kind>', 'with --failed: only of this kind, such as media.image')
  .option('--error-code <code>', 'with --failed: only with this as their last failure')
  .addOption(json())
  .action(async (ids: number[] | undefined, options: Options) => {
    if (ids && ids.length > 0) {
      if (options.failed ?? options.queue ?? options.kind ?? options.errorCode)
        throw new UsageError('retry takes either ids or --failed --queue, not both');
      const changes = await withDatabase((db) => retryJobs(db, { ids }));
      return reportChanges(ids, changes, { verb: 'retried', refusal: 'cancel it first', json: options.json === true });
    }
    const filter = bulk(withQueue(options));
    const changes = await withDatabase((db) => retryJobs(db, filter));
    if (options.json) return printJson({ retried: changes.map(named) });
    print(`retried ${count(changes.length, 'failed job')} of queue ${filter.queue}`);
  });

function bulk({ failed, queue, kind, errorCode }: Options) {
  if (!failed || !queue) throw new UsageError('retry needs ids, or --failed and --queue <queue>');
  return {
    queue,
    ...(kind === undefined ? {} : { kind }),
    ...(errorCode === undefined ? {} : { error_code: errorCode }),
  };
}
