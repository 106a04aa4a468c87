import { Command } from 'commander';
import { surroundings } from '../base/surroundings.ts';
import { version } from '../queue/fleet/version.ts';
import { account } from './account.ts';
import { add } from './add.ts';
import { again } from './again.ts';
import { alerts } from './alerts.ts';
import { cancel } from './cancel.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { complain, report } from './faults.ts';
import { jobs } from './jobs.ts';
import { migrate } from './migrate.ts';
import { pause, resume } from './pause.ts';
import { post } from './post.ts';
import { queue } from './queue.ts';
import { rejected } from './rejected.ts';
import { priority, reschedule } from './reschedule.ts';
import { reseal } from './reseal.ts';
import { retry } from './retry.ts';
import { schedule } from './schedule.ts';
import { show } from './show.ts';
import { start } from './start.ts';
import { status } from './status.ts';
import { template } from './template.ts';

const program = new Command('rowmill')
  .description('A background worker whose queue is your own Postgres: a job is a row.')
  .version(version)
  .exitOverride()
  .configureOutput({
    writeOut: (text) => void surroundings().stdout.write(text),
    writeErr: (text) => void surroundings().stderr.write(text),
    outputError: (text) => complain(oneLine(text)),
  });
for (const command of [
  start,
  migrate,
  demo,
  doctor,
  add,
  jobs,
  show,
  retry,
  cancel,
  reschedule,
  priority,
  again,
  pause,
  resume,
  status,
  schedule,
  queue,
  template,
  rejected,
  alerts,
  reseal,
  account,
  post,
]) {
  for (const each of [command, ...command.commands]) each.copyInheritedSettings(program);
  program.addCommand(command);
}

/** Runs one command, and prints what went wrong. @returns the exit code */
export async function run(args: string[]): Promise<number> {
  try {
    await program.parseAsync(args, { from: 'user' });
    return 0;
  } catch (error) {
    return report(error);
  }
}

function oneLine(text: string): string {
  const said = text.startsWith('error: ') ? text.slice('error: '.length) : text;
  return said.trim().replaceAll('\n', ' ');
}
