import { Argument, Command } from 'commander';
import { prioritiseJobs, rescheduleJobs } from '../queue/client/operate.ts';
import { reportChanges } from './changes.ts';
import { withDatabase } from './database.ts';
import { example, integer, jobIds, json, runAt } from './options.ts';

const ids = () => new Argument('<ids...>', 'ids of pending jobs').argParser(jobIds);
const refusal = 'only a pending job has a time and a priority';

export const reschedule = example(new Command('reschedule'), 'rowmill reschedule +2h 17 18')
  .description('give pending jobs another time at which they become due')
  .addArgument(new Argument('<time>', "a time, or such as '+5m'").argParser(runAt))
  .addArgument(ids())
  .addOption(json())
  .action(async (due: ReturnType<typeof runAt>, jobs: number[], options: { json?: true }) => {
    const at = 'run_at' in due ? due.run_at : new Date(Date.now() + due.delay_ms);
    const changes = await withDatabase((db) => rescheduleJobs(db, jobs, at));
    reportChanges(jobs, changes, { verb: 'rescheduled', refusal, json: options.json === true });
  });

export const priority = example(new Command('priority'), 'rowmill priority 10 17 18')
  .description('give pending jobs another priority: smaller starts first')
  .addArgument(new Argument('<n>', 'the priority').argParser(integer(-32_768, 32_767)))
  .addArgument(ids())
  .addOption(json())
  .action(async (n: number, jobs: number[], options: { json?: true }) => {
    const changes = await withDatabase((db) => prioritiseJobs(db, jobs, n));
    reportChanges(jobs, changes, { verb: 'prioritised', refusal, json: options.json === true });
  });
