import { Command } from 'commander';
import { example, jobsDir, migrationsDir } from './options.ts';

export const start = example(new Command('start'), 'DATABASE_URL=postgres://... QUEUES=publish,media rowmill start')
  .description('migrate, then work until stopped: on DATABASE_URL, or on an embedded Postgres when that is unset')
  .addOption(jobsDir())
  .addOption(migrationsDir())
  .action(async ({ jobs, migrations }: { jobs?: string; migrations?: string }) => {
    const { main } = await import('../main.ts');
    const given = { ...(jobs ? { jobsDir: jobs } : {}), ...(migrations ? { migrationsDir: migrations } : {}) };
    process.exit(await main(given));
  });
