import type { ErrorHandler } from 'hono';
import { codeOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';

/** Hono prints errors to stderr. Most are of clients that break off, which anybody can do as often as they like. */
export const faultsTo =
  (log: Log): ErrorHandler =>
  (error, context) => {
    if ('getResponse' in error) return error.getResponse();
    const brokeOff = codeOf(error) === 'ECONNRESET';
    log[brokeOff ? 'debug' : 'error']({ err: error }, 'a request failed');
    return context.text('failed', brokeOff ? 400 : 500);
  };
