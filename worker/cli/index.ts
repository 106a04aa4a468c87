import { once } from 'node:events';
import { codeOf, messageOf } from '../base/errors.ts';
import { Failed, report } from './faults.ts';
import { run } from './program.ts';

process.stdout.on('error', (error) => {
  // Whoever reads us may stop early: `rowmill jobs | head`.
  process.exit(codeOf(error) === 'EPIPE' ? 0 : report(new Failed(`Could not write the output: ${messageOf(error)}`)));
});

const code = await run(process.argv.slice(2));
if (code !== 0) {
  process.exitCode = code;
  // What a failed start leaves open must not keep the process; what goes into a pipe must get there.
  if (process.stdout.writableLength > 0) await once(process.stdout, 'drain');
  process.exit();
}
