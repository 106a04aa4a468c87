import { Argument, Command } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { insertAgain } from '../queue/client/again.ts';
import { withDatabase } from './database.ts';
import { example, jobId, jobsDir, json, payloadOf } from './options.ts';
import { print, printJson } from './output.ts';

export const again = example(new Command('again'), `rowmill again 17 '{"s3Key": "uploads/b.jpg"}'`)
  .description('add a copy of a job, in any status, and print its id')
  .addArgument(new Argument('<id>', 'of the job').argParser(jobId))
  .addArgument(new Argument('[payload]', 'JSON in place of its payload').argParser(payloadOf))
  .addOption(jobsDir())
  .addOption(json())
  .action(async (id: number, payload: unknown, options: { jobs?: string; json?: true }) => {
    const { loadRegistry } = await import('../queue/registry.ts');
    const { jobsDir: ownDir, keyring } = loadConfig();
    const registry = await loadRegistry(options.jobs ?? ownDir);
    const edit = payload === undefined ? undefined : () => payload;
    const added = await withDatabase((db) => insertAgain({ db, registry, keyring }, id, edit));
    if (options.json) printJson({ id: added, copy_of: id });
    else print(String(added));
  });
