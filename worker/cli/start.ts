import { Command } from 'commander';
import { example } from './options.ts';

export const start = example(new Command('start'), 'DATABASE_URL=postgres://... QUEUES=publish,media rowmill start')
  .description('migrate, then work until stopped: on DATABASE_URL, or on an embedded Postgres when that is unset')
  .action(async () => {
    const { main } = await import('../main.ts');
    process.exit(await main());
  });
