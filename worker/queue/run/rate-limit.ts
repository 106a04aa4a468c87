import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Db } from '../../base/db/db.ts';
import { Snooze } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { loadStatements, query } from '../../base/db/sql.ts';

/**
 * Token buckets that the whole fleet shares: rows of `rate_limits`, by the database's clock. A token may be given out
 * ahead of its time to who then waits for it, so that the rate holds exactly however many ask, and a process that dies
 * takes a fiftieth of a second's tokens with it at most.
 */

const sql = loadStatements(import.meta.dirname, 'rate-limit.sql', ['take_tokens']);
/** Up to here the tokens are taken and one waits; above it nothing was taken. The default of take_tokens. */
const patienceMs = 1_000;
const keepMs = 20;

/** Milliseconds to wait: up to 1,000 the tokens are taken, above it nothing was and one comes back then. */
async function takeTokens(db: Db, key: string, n: number, rate: number): Promise<number> {
  const [row] = await query<{ wait_ms: number }>(db, sql.take_tokens, { key, n, rate });
  return Math.ceil(row!.wait_ms);
}

/** One token for a handler. @throws Snooze when it is to be had in more than a second only */
export async function rateLimit(db: Db, key: string, perSecond: number, signal: AbortSignal): Promise<void> {
  const wait = await takeTokens(db, key, 1, perSecond);
  // Its turn is promised to it: however long the line, it comes.
  if (wait > patienceMs)
    throw new Snooze(wait, `the rate limit ${key} allows ${perSecond} a second`, { bounded: false });
  if (wait > 0) await sleep(wait, undefined, { signal });
}

/** A queue's rate limit: asked before jobs are started. */
export type Limiter = ReturnType<typeof createLimiter>;

/** @param rate jobs a second, null for no limit */
export function createLimiter(db: Db, queue: string, rate: () => number | null, log: Log, signal: AbortSignal) {
  const key = `queue ${queue}`;
  let unused = { tokens: 0, limit: 0, at: 0 };
  return {
    /**
     * Waits until some jobs may be started, and says how many: as many as there are without a limit, none when
     * `signal` has aborted.
     */
    async take(wanted: number): Promise<number> {
      for (;;) {
        const limit = rate();
        if (limit === null) return Infinity;
        if (signal.aborted) return 0;
        const granted = Math.min(unused.tokens, wanted);
        // Tokens do not keep: saved up, they would make a burst.
        if (granted > 0 && unused.limit === limit && performance.now() - unused.at < keepMs) {
          unused.tokens -= granted;
          return granted;
        }
        const n = Math.max(1, Math.min(wanted, Math.floor(limit / 50)));
        const wait = await takeTokens(db, key, n, limit).catch((error: unknown) => {
          log[isTransient(error) ? 'debug' : 'error'](
            { err: error, queue },
            'could not ask for the rate limit, will try again',
          );
          return patienceMs + 1;
        });
        await sleep(Math.min(wait, 2 * patienceMs), undefined, { signal }).catch(() => {});
        if (wait <= patienceMs) return n;
      }
    },

    /** Takes back what was granted and not used, for the next to ask. */
    giveBack(n: number): void {
      if (n > 0 && Number.isFinite(n)) unused = { tokens: n, limit: rate() ?? 0, at: performance.now() };
    },
  };
}
