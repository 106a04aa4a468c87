import { once } from 'node:events';
import { Command } from 'commander';
import { codeOf, messageOf } from '../base/errors.ts';
import { version } from '../queue/version.ts';
import { add } from './add.ts';
import { cancel } from './cancel.ts';
import { demo } from './demo.ts';
import { doctor } from './doctor.ts';
import { complain, Failed, report } from './faults.ts';
import { jobs } from './jobs.ts';
import { migrate } from './migrate.ts';
import { pause, resume } from './pause.ts';
import { retry } from './retry.ts';
import { schedule } from './schedule.ts';
import { show } from './show.ts';
import { start } from './start.ts';
import { status } from './status.ts';

const program = new Command('rowmill')
  .description('A background worker whose queue is your own Postgres: a job is a row.')
  .version(version)
  .exitOverride()
  .configureOutput({ outputError: (text) => complain(oneLine(text)) });
for (const command of [start, migrate, demo, doctor, add, jobs, show, retry, cancel, pause, resume, status, schedule]) {
  for (const each of [command, ...command.commands]) each.copyInheritedSettings(program);
  program.addCommand(command);
}

process.stdout.on('error', (error) => {
  // Whoever reads us may stop early: `rowmill jobs | head`.
  process.exit(codeOf(error) === 'EPIPE' ? 0 : report(new Failed(`Could not write the output: ${messageOf(error)}`)));
});

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
  // What a failed start leaves open must not keep the process; what goes into a pipe must get there.
  if (process.stdout.writableLength > 0) await once(process.stdout, 'drain');
  process.exit();
}

function oneLine(text: string): string {
  const said = text.startsWith('error: ') ? text.slice('error: '.length) : text;
  return said.trim().replaceAll('\n', ' ');
}
