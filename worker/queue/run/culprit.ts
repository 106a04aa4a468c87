import { AsyncLocalStorage } from 'node:async_hooks';
import { messageOf, RetryableError } from '../../base/errors.ts';
import type { Stop } from './stop.ts';

const attempts = new AsyncLocalStorage<Stop[]>();

/** Runs a handler so that what its timers, sockets and streams throw later can be attributed to its attempt. */
export const asCulprit = <T>(stops: Stop[], handler: () => T): T => attempts.run(stops, handler);

/**
 * Called with an uncaught exception: fails the attempts whose handler threw it.
 * @returns how many; 0 if it belongs to none
 */
export function failCulprits(error: unknown): number {
  const stops = attempts.getStore() ?? [];
  const words = `Thrown by the handler where nobody could catch it: ${messageOf(error)}`;
  for (const stop of stops) stop.now(new RetryableError('uncaught_exception', words, { cause: error }));
  return stops.length;
}
