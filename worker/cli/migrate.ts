import { Command } from 'commander';
import { loadConfig } from '../base/config/config.ts';
import type { Planned } from '../queue/install/install.ts';
import { withDatabaseUrl } from './database.ts';
import { example, json, migrationsDir } from './options.ts';
import { print, printJson } from './output.ts';

type Options = { with?: string[]; plan?: true; migrations?: string; json?: true };

export const migrate = example(new Command('migrate'), 'DATABASE_URL=postgres://... rowmill migrate')
  .description('bring the tables of the database up to date, and say what was done')
  .option('--with <set...>', 'also the tables of an application, such as messenger, which are made only when asked for')
  .option('--plan', 'only say what would be done, and which locks it takes')
  .addOption(migrationsDir())
  .addOption(json())
  .action(async ({ with: sets, ...options }: Options) => {
    const { install, planInstall } = await import('../queue/install/install.ts');
    const config = loadConfig();
    const ownDir = options.migrations ?? config.migrationsDir;
    if (options.plan) {
      const planned = await withDatabaseUrl(config, (url) => planInstall(url, sets, ownDir));
      return options.json ? printJson({ planned }) : printPlan(planned);
    }
    const applied = await withDatabaseUrl(config, (url) => install(url, sets, ownDir), { make: true });
    if (options.json) return printJson({ applied });
    for (const name of applied) print(`applied ${name}`);
    if (applied.length === 0) print('up to date');
  });

function printPlan(planned: Planned[]): void {
  for (const { name, what, locks } of planned) {
    print(`would apply ${name}`);
    if (what) print(`  ${what}`);
    if (locks) print(`  Locks: ${locks}`);
  }
  if (planned.length === 0) print('up to date');
}
