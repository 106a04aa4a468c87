import { Argument, Command } from 'commander';
import { cancelJobs } from '../queue/client/operate.ts';
import { reportChanges } from './changes.ts';
import { withDatabase } from './database.ts';
import { example, jobIds, json } from './options.ts';

export const cancel = example(new Command('cancel'), 'rowmill cancel 17 18')
  .description('cancel jobs that have not ended; a running one is stopped')
  .addArgument(new Argument('<ids...>', 'ids of pending or processing jobs').argParser(jobIds))
  .addOption(json())
  .action(async (ids: number[], options: { json?: true }) => {
    const changes = await withDatabase((db) => cancelJobs(db, ids));
    reportChanges(ids, changes, { verb: 'cancelled', refusal: 'it has ended', json: options.json === true });
  });
