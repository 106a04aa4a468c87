import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Db } from '../../base/db/db.ts';
import { Snooze } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { loadStatements, query } from '../../base/db/sql.ts';

/**
 * Token buckets that the whole fleet shares: rows of `rate_limits`, by the database's clock. A token may be given out
 * ahead of time to a caller that then waits for it. So the rate holds exactly, however many callers there are, and a
 * process that dies takes at most a fiftieth of a second's tokens with it.
 */

const sql = loadStatements(import.meta.dirname, 'rate-limit.sql', ['take_tokens']);
/** Up to this wait the tokens are taken; above it none were. The default of take_tokens. */
const patienceMs = 1_000;
const keepMs = 20;

/**
 * Milliseconds to wait: up to `patience_ms` the tokens are taken; above it none were, and the caller comes back after
 * that time.
 */
async function takeTokens(db: Db, key: string, n: number, rate: number, patience_ms = patienceMs): Promise<number> {
  const [row] = await query<{ wait_ms: number }>(db, sql.take_tokens, { key, n, rate, patience_ms });
  return Math.ceil(row!.wait_ms);
}

/**
 * Takes `n` tokens for a handler.
 * @throws Snooze if they come more than a second later than those of an idle bucket
 */
export async function rateLimit(db: Db, key: string, perSecond: number, n: number, signal: AbortSignal): Promise<void> {
  const patience = patienceMs + ((n - 1) / perSecond) * 1_000;
  const wait = await takeTokens(db, key, n, perSecond, patience);
  // Its turn is reserved: however long the line is, it comes.
  if (wait > patience) throw new Snooze(wait, `the rate limit ${key} allows ${perSecond} a second`, { bounded: false });
  if (wait > 0) await sleep(wait, undefined, { signal });
}

/** The rate limit of a queue: asked before jobs are started. */
export type Limiter = ReturnType<typeof createLimiter>;

/** @param rate jobs per second, null for no limit */
export function createLimiter(db: Db, queue: string, rate: () => number | null, log: Log, signal: AbortSignal) {
  const key = `queue ${queue}`;
  let unused = { tokens: 0, limit: 0, at: 0 };
  return {
    /**
     * Waits until some jobs may be started, and resolves to their number: Infinity without a limit, 0 after `signal`
     * has aborted.
     */
    async take(wanted: number): Promise<number> {
      for (;;) {
        const limit = rate();
        if (limit === null) return Infinity;
        if (signal.aborted) return 0;
        const granted = Math.min(unused.tokens, wanted);
        // Old tokens are not used: saved up, they would allow a burst.
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

    /** Takes back tokens that were granted and not used, for the next call. */
    giveBack(n: number): void {
      if (n > 0 && Number.isFinite(n)) unused = { tokens: n, limit: rate() ?? 0, at: performance.now() };
    },
  };
}
