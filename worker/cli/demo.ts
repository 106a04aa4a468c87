import { Command } from 'commander';
import { example, json } from './options.ts';

export const demo = example(new Command('demo'), 'rowmill demo holiday.jpg')
  .description(
    'publish sample pictures, or your own, from end to end on this machine; it needs no settings, ' +
      'and ignores DATABASE_URL',
  )
  .argument('[files...]', 'pictures of your own')
  .addOption(json())
  .action(async (files: string[], options: { json?: true }) => {
    const { runDemo } = await import('./demo/run.ts');
    process.exitCode = await runDemo(files, { json: options.json === true });
  });
