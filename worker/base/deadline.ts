import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What `work` gives; undefined when it takes longer than `ms`: then it goes on, and what it throws later is ignored.
 */
export async function within<T>(ms: number, work: Promise<T> | undefined): Promise<T | undefined> {
  work?.catch(() => {});
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).catch(() => undefined);
  return Promise.race([work, late]).finally(() => timer.abort());
}
