import { Command } from 'commander';
import { main } from '../main.ts';

export const start = new Command('start')
  .description('Migrate, then work until stopped: on DATABASE_URL, or on an embedded Postgres when that is unset')
  .action(async () => {
    process.exit(await main());
  });
