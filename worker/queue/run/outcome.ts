import { isUnsent } from '../../base/db/db.ts';
import { codeOf, DeploymentError, isOf, messageOf, PermanentError, RetryableError, Snooze } from '../../base/errors.ts';
import { stackOf } from '../../base/stack.ts';

/** Why a running job was told to stop: the reason of its AbortSignal. */
export class Stopped extends Error {
  override name = 'Stopped';
  readonly because: 'shutdown' | 'taken' | 'fenced';
  constructor(because: Stopped['because']) {
    super(
      {
        shutdown: 'the worker is shutting down',
        taken: 'the job was cancelled or changed',
        fenced: 'the worker was declared dead',
      }[because],
    );
    this.because = because;
  }
}

export type Outcome =
  /** Its row is completed already: the handler committed it. */
  | { outcome: 'committed' }
  /** `result` is JSON that Postgres can store. */
  | { outcome: 'completed'; result: string }
  /** `stack` is set for an unforeseen error. */
  | { outcome: 'retry' | 'fail'; error_code: string; error: string; stack?: string | undefined }
  /** `bounded`: it counts towards queues.snooze_limit. */
  | { outcome: 'snooze'; delay_ms: number; reason: string; bounded: boolean }
  /** A fault of the deployment: an incident holds the job, or it is retried. */
  | { outcome: 'held'; dependency: string; error_code: string; error: string }
  /** The row is no longer ours. */
  | { outcome: 'dropped'; reason: string };

/**
 * The outcome of a job whose handler threw. The one place that judges; a pure function.
 * @param stopped why the job's signal fired, if it did: then this is the cause, and not the error that it provoked
 */
export function judge(error: unknown, stopped: unknown, redact: (text: string) => string = (text) => text): Outcome {
  const cause = stopped ?? error;
  if (cause instanceof Stopped)
    return cause.because === 'shutdown'
      ? { outcome: 'snooze', delay_ms: 0, reason: cause.message, bounded: false }
      : { outcome: 'dropped', reason: cause.message };
  if (isOf(cause, Snooze)) {
    const { delayMs, reason, bounded } = cause;
    return { outcome: 'snooze', delay_ms: delayMs, reason: wordsOf(reason, redact), bounded };
  }

  const words = wordsOf(messageOf(cause), redact);
  if (isOf(cause, DeploymentError))
    return { outcome: 'held', dependency: cause.dependency, error_code: wordOf(cause.code), error: words };
  // There was no connection to Postgres: nothing was done, and it is not the job's fault.
  if (isUnsent(cause))
    return { outcome: 'snooze', delay_ms: 2_000, reason: `no connection to Postgres: ${words}`, bounded: false };
  if (isOf(cause, PermanentError)) return { outcome: 'fail', error_code: wordOf(cause.code), error: words };
  if (isOf(cause, RetryableError)) return { outcome: 'retry', error_code: wordOf(cause.code), error: words };
  const stack = stackOf(cause);
  return { outcome: 'retry', error_code: codeFor(cause), error: words, stack: stack && redact(stack) };
}

/** The limits of job_errors and of a job's row. */
const longest = { code: 60, message: 2_000 };

const wordOf = (code: string) => code.slice(0, longest.code) || 'unexpected_error';

/** Cut before it is redacted, because a message may be as long as a payload; and after, to what the row accepts. */
const wordsOf = (message: string, redact: (text: string) => string) =>
  redact(message.slice(0, 100_000)).slice(0, longest.message) || 'no message';

/** A stable word for an error of another program: ECONNREFUSED is econnrefused, an SQLSTATE is postgres_23505. */
function codeFor(error: unknown): string {
  const code = codeOf(error);
  if (code && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code)) return `postgres_${code.toLowerCase()}`;
  if (code && /^[A-Z][A-Z0-9_]+$/.test(code)) return wordOf(code.toLowerCase());
  return 'unexpected_error';
}
