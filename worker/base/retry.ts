import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The one loop that tries something again: requests to storage and to other services over HTTP, statements (base/db/persist.ts). An attempt may
 * be an hour of encoding, which one 503 must not cost. What fails after the last try is the job's failure: the queue decides what comes next.
 */

export type Patience = {
  /** How often it is tried in all. Default: as long as the budget lasts. */
  tries?: number;
  /** The wait before the second try; doubled for each further one, and shortened by up to a half at random. */
  waitMs: number;
  /** The longest wait. Default ten seconds. */
  longestMs?: number;
  /** No further try begins so long after the first one did. A server's Retry-After is followed within it. Default: no limit. */
  budgetMs?: number;
};

/** For requests to other services. */
export const usualPatience: Patience = { tries: 6, waitMs: 200, budgetMs: 120_000 };

/** What the judge says of an error that may pass. `retryAfterMs`: when the server says to come back. */
export type Passing = { retryAfterMs?: number | undefined };

/**
 * Does `work` until it succeeds, as long as `passing` says that its error may pass.
 * @param work must be safe to repeat; each time it makes its streams anew
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

/** Milliseconds, from whole seconds or an HTTP date. Undefined if not given. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after */
export function retryAfterMs(header: string | undefined): number | undefined {
  const value = header?.trim();
  if (!value) return undefined;
  const delayMs = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(delayMs) ? undefined : Math.max(delayMs, 0);
}

/**
 * By the code of an error of the network: nobody answers there, or somebody else does. Another request would meet the same, so it is a fault
 * of the deployment once all tries are over.
 */
export const isUnreachable = (code: string) =>
  /^(ECONNREFUSED|EHOST|ENET|ENOTFOUND|ERR_TLS_|UNABLE_TO_)|CERT/.test(code);
