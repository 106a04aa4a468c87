/**
 * What a handler can say when it did not succeed. Anything else that it throws is judged in queue/outcome.ts,
 * and counts as retryable: a wrong retry costs one attempt, a wrong give-up loses work.
 *
 * Codes are stable lower_snake_case words; they land in `error_code` and people query for them.
 * Messages are for people, land in `error`, and carry no secrets.
 */

/** The job can never succeed as asked: no retry, it becomes a dead letter at once. */
export class PermanentError extends Error {
  override name = 'PermanentError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The default outcome of a failure, with a code of its own: tried again after the queue's backoff. */
export class RetryableError extends Error {
  override name = 'RetryableError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A fault of the deployment that no job is to blame for: a wrong key, a full disk, a missing program, a refused connection. If the
 * dependency's own check fails too, the job waits for the end of the incident and uses no retry. If the check passes, it is the job's own
 * failure, as a RetryableError would be.
 * @param dependency its name in App.dependencies
 */
export class DeploymentError extends Error {
  override name = 'DeploymentError';
  readonly dependency: string;
  readonly code: string;
  constructor(dependency: string, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.dependency = dependency;
    this.code = code;
  }
}

/**
 * Nothing is wrong, come back later: the job waits `delayMs`, a second at least and a year at most, and uses no retry. Waits grow with the time
 * that the job has been snoozing, and one that only snoozed for queues.snooze_limit fails as `snoozed_too_long`.
 * @param options `bounded: false` for a wait whose end is certain, such as a turn at a rate limit of ours: it is kept exactly, and never too long
 */
export class Snooze extends Error {
  override name = 'Snooze';
  readonly delayMs: number;
  readonly reason: string;
  readonly bounded: boolean;
  constructor(delayMs: number, reason: string, { bounded = true }: { bounded?: boolean } = {}) {
    super(reason);
    this.delayMs = Math.min(Math.max(Number.isNaN(delayMs) ? 0 : delayMs, 0), 31_536_000_000);
    this.reason = reason;
    this.bounded = bounded;
  }
}

/** One cause why the process cannot start or a command cannot run, for a person to read. Exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** The `code` that Node, pg and the SDKs put on their errors, if there is one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

export function messageOf(error: unknown): string {
  const message: unknown = error instanceof Error ? error.message : error;
  return typeof message === 'string' ? message : `what was thrown says nothing: ${typeof message}`;
}
