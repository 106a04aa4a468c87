import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient } from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';

/** Does housekeeping again and again, with this pause, until `signal` aborts. */
export async function repeat(ms: number, work: () => Promise<void>, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await work().catch((error: unknown) =>
      log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'housekeeping failed, will try again'),
    );
    await sleep(ms, undefined, { signal }).catch(() => {});
  }
}
