import { Command } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import { withDatabaseUrl } from './database.ts';
import { example, json, migrationsDir } from './options.ts';
import { print, printJson } from './output.ts';

export const migrate = example(new Command('migrate'), 'DATABASE_URL=postgres://... rowmill migrate')
  .description('bring the tables of the database up to date, and say what was done')
  .option('--with <set...>', 'also the tables of an application, such as messenger, which are made only when asked for')
  .addOption(migrationsDir())
  .addOption(json())
  .action(async ({ with: sets, ...options }: { with?: string[]; migrations?: string; json?: true }) => {
    const { install } = await import('../queue/install/install.ts');
    const config = loadConfig();
    const ownDir = options.migrations ?? config.migrationsDir;
    const applied = await withDatabaseUrl(config, (url) => install(url, sets, ownDir), { make: true });
    if (options.json) return printJson({ applied });
    for (const name of applied) print(`applied ${name}`);
    if (applied.length === 0) print('up to date');
  });
