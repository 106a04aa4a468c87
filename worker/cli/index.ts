import { once } from 'node:events';
import { codeOf, messageOf } from '../base/errors.ts';
import { Failed, report } from './faults.ts';
import { run } from './program.ts';

process.stdout.on('error', (error) => {
  // A reader of our output may stop early: `rowmill jobs | head`.
  process.exit(codeOf(error) === 'EPIPE' ? 0 : report(new Failed(`Could not write the output: ${messageOf(error)}`)));
});

const code = await run(process.argv.slice(2));
if (code !== 0) {
  process.exitCode = code;
  // What a failed start left open must not keep the process alive; what was written to a pipe must get there.
  if (process.stdout.writableLength > 0) await once(process.stdout, 'drain');
  process.exit();
}
