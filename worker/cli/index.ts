import { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { version } from '../queue/version.ts';
import { start } from './start.ts';

const program = new Command('rowmill')
  .description('A background worker whose queue is your own Postgres: a job is a row.')
  .version(version)
  .showHelpAfterError()
  .addCommand(start);

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
