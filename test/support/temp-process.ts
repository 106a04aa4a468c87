import { setTimeout as sleep } from 'node:timers/promises';
import { withTempDir } from '../../worker/base/temp.ts';

// A process with a temporary folder, to be frozen and killed. Says where it is.

await withTempDir(process.argv[2]!, async (dir) => {
  process.stdout.write(dir);
  await sleep(600_000);
});
