/**
 * What a handler throws when it does not succeed. Any other error is retried: a wrong retry costs one attempt, a wrong
 * give-up loses work. queue/run/outcome.ts decides.
 *
 * A code is a stable lower_snake_case word that lands in `error_code`; people query for it. A message is for people,
 * lands in `error`, and must not contain secrets.
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

/** The default outcome of a failure, with a code of its own: the job is retried after the queue's backoff. */
export class RetryableError extends Error {
  override name = 'RetryableError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * A fault of the deployment, not of the job: a wrong key, a full disk, a missing program, a refused connection. If the
 * check of that dependency fails, too, the job waits until the incident ends, and uses no retry. If the check passes,
 * it is the job's own failure, like a RetryableError.
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
 * Nobody knows whether it was done: the request went out, and no answer came. Who asked for something that must not be
 * done twice has to judge it; otherwise it is retried.
 */
export class UnknownOutcome extends Error {
  override name = 'UnknownOutcome';
}

/**
 * Nothing is wrong: the job runs again after `delayMs`, at least a second and at most a year, and uses no retry. The
 * waits grow with the time that the job has been snoozing. A job that only snoozes for queues.snooze_limit fails with
 * `snoozed_too_long`.
 * @param options `bounded: false` for a wait that certainly ends, such as for one of our rate limits: it is kept
 *   exactly, and does not count towards queues.snooze_limit
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

/** A reason why the process cannot start, or a command cannot run, for a person to read. Exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/**
 * Whether an error is of a class of this file, or of the same class in another copy of the package. A project's kinds
 * import the copy that is installed there; a globally installed rowmill that runs them is another copy.
 */
export function isOf<Known extends Error>(error: unknown, type: new (...given: never[]) => Known): error is Known {
  if (error instanceof type) return true;
  return error instanceof Error && error.name === type.name && (codeOf(error) !== undefined || 'delayMs' in error);
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
