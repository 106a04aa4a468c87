import { Command } from 'commander';
import { setPaused } from '../queue/client/operate.ts';
import { withDatabase } from './database.ts';
import { example, json } from './options.ts';
import { count, print, printJson } from './output.ts';
import { person } from './person.ts';

export const pause = example(new Command('pause'), 'rowmill pause media')
  .description('start no more jobs of a queue, on all workers; what runs may finish')
  .argument('<queue>', 'its name')
  .addOption(json())
  .action(set(true));

export const resume = example(new Command('resume'), 'rowmill resume media')
  .description('start the jobs of a paused queue again')
  .argument('<queue>', 'its name')
  .addOption(json())
  .action(set(false));

function set(paused: boolean) {
  return async (queue: string, options: { json?: true }) => {
    const row = await withDatabase((db) => setPaused(db, queue, paused, person()));
    if (options.json) return printJson(row);
    const waiting = row.waiting === 1 ? '1 job waits' : `${count(row.waiting, 'job')} wait`;
    print(`queue ${queue} is ${paused ? 'paused' : 'working'}: ${waiting}, ${row.active} running`);
  };
}
