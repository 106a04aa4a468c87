import { Command } from 'commander';
import { loadConfig } from '../base/config.ts';
import { withDatabaseUrl } from './database.ts';
import { example, json } from './options.ts';
import { print, printJson } from './output.ts';

export const migrate = example(new Command('migrate'), 'DATABASE_URL=postgres://... rowmill migrate')
  .description('bring the tables of the database up to date, and say what was done')
  .addOption(json())
  .action(async (options: { json?: true }) => {
    const { install } = await import('../queue/install.ts');
    const applied = await withDatabaseUrl(loadConfig(), install, { make: true });
    if (options.json) return printJson({ applied });
    for (const name of applied) print(`applied ${name}`);
    if (applied.length === 0) print('up to date');
  });
