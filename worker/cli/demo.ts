import { Command } from 'commander';
import { UsageError } from '../base/errors.ts';
import { example, json } from './options.ts';

export const demo = example(new Command('demo'), 'rowmill demo holiday.jpg')
  .description(
    'publish sample pictures, or your own, from end to end on this machine; it needs no settings, ' +
      'and ignores DATABASE_URL',
  )
  .argument('[files...]', 'pictures of your own')
  .option('--tour', 'one job of each family instead, a dead letter and its repair; the dashboard stays open')
  .addOption(json())
  .action(async (files: string[], options: { json?: true; tour?: true }) => {
    if (options.tour) {
      if (files.length > 0) throw new UsageError('--tour takes no files');
      const { demoTour } = await import('./demo/tour.ts');
      process.exitCode = await demoTour({ json: options.json === true });
      return;
    }
    const { demoPictures } = await import('./demo/pictures.ts');
    process.exitCode = await demoPictures(files, { json: options.json === true });
  });

example(demo.command('notifications'), 'rowmill demo notifications')
  .description('send a notification on each channel, to stand-ins on this machine; it needs no settings, either')
  .addOption(json())
  .action(async (_: object, command: Command) => {
    const { demoNotifications } = await import('./demo/notifications.ts');
    process.exitCode = await demoNotifications({ json: command.optsWithGlobals<{ json?: true }>().json === true });
  });

example(demo.command('social'), 'npm run demo -- social')
  .description('publish on four platforms, stand-ins on this machine, and report on 60 invented days; no settings')
  .addOption(json())
  .action(async (_: object, command: Command) => {
    const { demoSocial } = await import('./demo/social.ts');
    process.exitCode = await demoSocial({ json: command.optsWithGlobals<{ json?: true }>().json === true });
  });

example(demo.command('rabbitmq'), 'npm run demo -- rabbitmq')
  .description(
    'publish messages to RabbitMQ, at RABBITMQ_URL or on this machine, and do the jobs that they become; ' +
      'it uses an exchange and a queue of its own, and deletes them',
  )
  .addOption(json())
  .action(async (_: object, command: Command) => {
    const { demoRabbitmq } = await import('./demo/rabbitmq.ts');
    process.exitCode = await demoRabbitmq({ json: command.optsWithGlobals<{ json?: true }>().json === true });
  });
