import { AsyncLocalStorage } from 'node:async_hooks';
import { messageOf, RetryableError } from '../../base/errors.ts';
import { serializersFor, type Log } from '../../base/log.ts';
import type { Attempting } from './attempting.ts';

type Culprit = Pick<Attempting, 'stop' | 'hide'>;

const attempts = new AsyncLocalStorage<Culprit[]>();

/** Runs a handler so that what its timers, sockets and streams throw later can be attributed to its attempt. */
export const asCulprit = <T>(culprits: Culprit[], handler: () => T): T => attempts.run(culprits, handler);

/**
 * Called with an uncaught exception: fails the attempts whose handler threw it.
 * @returns how many; 0 if it belongs to none
 */
export function failCulprits(error: unknown): number {
  const culprits = attempts.getStore() ?? [];
  const words = `Thrown by the handler where nobody could catch it: ${messageOf(error)}`;
  for (const { stop } of culprits) stop.now(new RetryableError('uncaught_exception', words, { cause: error }));
  return culprits.length;
}

/** For an uncaught error: a log without the sensitive values of the jobs whose handler threw it. */
export function logOfCulprits(log: Log): Log {
  const hides = (attempts.getStore() ?? []).flatMap(({ hide }) => hide ?? []);
  if (hides.length === 0) return log;
  return log.child({}, { serializers: serializersFor((text) => hides.reduce((cut, hide) => hide(cut), text)) });
}
