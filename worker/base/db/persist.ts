import { isTransient } from './db.ts';
import { withRetries, type Patience } from '../retry.ts';

const untilItWorks: Patience = { waitMs: 50, longestMs: 2_000 };

/**
 * Does what must be done in Postgres, again and again while it is away, until `signal` fires.
 * @param work must be safe to repeat: it may have been done although the answer was lost
 * @throws what asking again does not fix; once the signal has fired, the last error
 */
export async function persist<T>(
  work: (tries: number) => Promise<T>,
  signal: AbortSignal | undefined,
  passes: (error: unknown) => boolean = isTransient,
  patience: Patience = untilItWorks,
): Promise<T> {
  let last: unknown;
  const passing = (error: unknown) => {
    last = error;
    return passes(error) ? {} : undefined;
  };
  try {
    return await withRetries(work, passing, signal, patience);
  } catch (error) {
    // Whether Postgres was away tells the caller more than why nobody waits for it any more.
    throw signal?.aborted && error === signal.reason ? (last ?? error) : error;
  }
}
