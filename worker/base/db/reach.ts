import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, isTransient } from './db.ts';
import type { Log } from '../log.ts';

const tellEveryMs = 5_000;

/**
 * Waits for a Postgres that is starting, or not there yet, as when it comes up beside us.
 * @throws its last error when that took longer than `patienceMs`; at once what asking again does not mend, such as a wrong password
 */
export async function waitForPostgres(
  databaseUrl: string,
  { log, signal, patienceMs = 60_000 }: { log: Log; signal: AbortSignal; patienceMs?: number },
): Promise<void> {
  const deadline = Date.now() + patienceMs;
  let toldAt = 0;
  for (;;) {
    signal.throwIfAborted();
    const client = createClient(databaseUrl);
    try {
      await client.connect();
      return;
    } catch (error) {
      if (!isTransient(error) || Date.now() > deadline) throw error;
      if (Date.now() - toldAt > tellEveryMs) {
        toldAt = Date.now();
        log.warn(
          { err: error, for_s: Math.ceil((deadline - toldAt) / 1_000) },
          'Postgres does not answer yet, waiting',
        );
      }
    } finally {
      await client.end().catch(() => {});
    }
    await sleep(500, undefined, { signal }).catch(() => {});
  }
}
