import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The one loop that tries something again: requests to storage and to other services over HTTP, statements
 * (base/db/persist.ts). An attempt may be an hour of encoding, which one 503 must not cost. If the last try fails, the
 * job fails, and the queue retries it.
 */

export type Patience = {
  /** The number of tries. Default: as many as fit into the budget. */
  tries?: number;
  /** The wait before the second try. It doubles for each further one, and is shortened at random by up to half. */
  waitMs: number;
  /** The longest wait. Default ten seconds. */
  longestMs?: number;
  /** No try begins later than this after the first. A server's Retry-After is followed within it. Default: no limit. */
  budgetMs?: number;
};

/** For requests to other services. */
export const usualPatience: Patience = { tries: 6, waitMs: 200, budgetMs: 120_000 };

/** Describes an error that may pass. `retryAfterMs`: when the server says to come back. */
export type Passing = { retryAfterMs?: number | undefined };

/**
 * Repeats `work` until it succeeds, as long as `passing` says that its error may pass.
 * @param work must be safe to repeat; it must create its streams anew each time
 * @throws the last error; the signal's reason, at once
 */
export async function withRetries<T>(
  work: (tries: number) => Promise<T>,
  passing: (error: unknown) => Passing | undefined,
  signal: AbortSignal | undefined,
  { tries = Infinity, waitMs, longestMs = 10_000, budgetMs = Infinity }: Patience = usualPatience,
): Promise<T> {
  const began = performance.now();
  for (let tried = 1; ; tried++) {
    try {
      return await work(tried);
    } catch (error) {
      const passes = signal?.aborted || tried >= tries ? undefined : passing(error);
      if (!passes) throw error;
      const backoff = Math.min(waitMs * 2 ** (tried - 1), longestMs) * (1 - Math.random() / 2);
      const wait = Math.max(backoff, passes.retryAfterMs ?? 0);
      if (performance.now() - began + wait > budgetMs) throw error;
      await sleep(wait, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
    }
  }
}

const second = 1_000;
const longestRetryAfter = 3_600 * second;

/**
 * In milliseconds, from whole seconds or an HTTP date. Undefined if not given. At least a second, so that no job spins;
 * at most an hour, because servers name absurd times. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function retryAfterMs(header: string | undefined): number | undefined {
  const value = header?.trim();
  if (!value) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * second : Date.parse(value) - Date.now();
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(delayMs, second), longestRetryAfter);
}

/**
 * Whether a network error code means that nobody answers at that address, or the wrong server does. Another request
 * would get the same error, so after all tries it is a fault of the deployment.
 */
export const isUnreachable = (code: string) =>
  /^(ECONNREFUSED|EHOST|ENET|ENOTFOUND|ERR_TLS_|UNABLE_TO_)|CERT/.test(code);
