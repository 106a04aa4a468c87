import { createClient, isTransient } from './db.ts';
import type { Log } from '../log.ts';
import { withRetries } from '../retry.ts';

const tellEveryMs = 5_000;

/**
 * Waits for a Postgres that is still starting, for example when both are started together.
 * @throws its last error after `patienceMs`; at once an error that waiting does not fix, such as a wrong password
 */
export async function waitForPostgres(
  databaseUrl: string,
  { log, signal, patienceMs = 60_000 }: { log: Log; signal: AbortSignal; patienceMs?: number },
): Promise<void> {
  const deadline = Date.now() + patienceMs;
  let toldAt = 0;
  const passing = (error: unknown) => {
    if (!isTransient(error)) return undefined;
    if (Date.now() - toldAt > tellEveryMs) {
      toldAt = Date.now();
      log.warn({ err: error, for_s: Math.ceil((deadline - toldAt) / 1_000) }, 'Postgres does not answer yet, waiting');
    }
    return {};
  };
  signal.throwIfAborted();
  await withRetries(() => reach(databaseUrl), passing, signal, { waitMs: 500, longestMs: 500, budgetMs: patienceMs });
}

async function reach(databaseUrl: string): Promise<void> {
  const client = createClient(databaseUrl);
  try {
    await client.connect();
  } finally {
    await client.end().catch(() => {});
  }
}
