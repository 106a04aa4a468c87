import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../app.ts';
import { isTransient, transaction, type Tx } from '../base/db.ts';
import { messageOf, RetryableError } from '../base/errors.ts';
import { redactor, type Log } from '../base/log.ts';
import type { JobContext } from './job.ts';
import { storable, type JobRow, type Ledger } from './ledger.ts';
import { judge, Stopped, type Outcome } from './outcome.ts';
import { rateLimit } from './rate-limit.ts';
import { accept, type Registry } from './registry.ts';

/** What the attempts of a queue run with. */
export type AttemptOptions = {
  app: App;
  ledger: Ledger;
  registry: Registry;
  /** Bound to the queue. */
  log: Log;
  /** queues.timeout_ms, where set: it overrides the handler's own limit. */
  timeoutMs: () => number | null;
};

/** One attempt under way. */
export type Attempting = {
  row: JobRow;
  /** Its signal stops the handler; the reason says why. */
  controller: AbortController;
  /** Told how far the handler says it is, 0 to 100. */
  progress: (percent: number) => void;
};

/** How the handler answered. */
export type Answer = { result: unknown } | { error: unknown };

/** What the log is told of an attempt: never its error's words, which may quote anything. */
type Written = { outcome: string; [field: string]: unknown };

/** How long a handler may go on after its signal fired, before its job is judged without it. */
const graceMs = 5_000;
const defaultTimeoutMs = 300_000;

/** Runs the handler of a job that was started, judges how it went, and writes that to the row. Never throws. */
export async function runAttempt(attempting: Attempting, options: AttemptOptions): Promise<void> {
  const began = performance.now();
  const { row, controller } = attempting;
  const { context, conclude } = prepare(attempting, options);
  let answer: Answer;
  try {
    const { definition, payload } = accept(options.registry, row);
    if (!('run' in definition)) throw new Error(`${definition.name} runs in batches`);
    const limit = options.timeoutMs() ?? definition.timeout;
    answer = { result: await inTime(definition.run(context(payload)), [controller], limit) };
  } catch (error) {
    answer = { error };
  }
  await record(row, conclude(answer), options, began);
}

/** What a handler is given for an attempt, and the judgement of how it answered. */
export function prepare(attempting: Attempting, options: AttemptOptions) {
  const { row, controller, progress } = attempting;
  const { app, log } = options;
  const { signal } = controller;
  let committed = false;

  const context = (payload: unknown): JobContext<unknown> => ({
    job: row,
    payload,
    app,
    get log() {
      return log.child({ kind: row.kind, job_id: row.id, attempt: row.attempt });
    },
    signal,
    progress,
    async commit(work) {
      const result = await commit(row, work, signal, options);
      committed = true;
      return result;
    },
    rateLimit: (key, perSecond) => rateLimit(app.db, key, perSecond, signal),
  });

  function conclude(answer: Answer): Outcome {
    if (committed) return { outcome: 'committed' };
    try {
      if ('error' in answer) throw answer.error;
      storable(answer.result);
      return { outcome: 'completed', result: answer.result };
    } catch (error) {
      return judge(error, signal.reason, redactor(app.config.secrets));
    }
  }

  return { context, conclude };
}

async function commit<Result>(
  row: JobRow,
  work: (tx: Tx) => Promise<Result>,
  signal: AbortSignal,
  { app, ledger }: AttemptOptions,
): Promise<Result> {
  let result: Result;
  for (let tries = 1; ; tries++) {
    try {
      return await transaction(app.db, async (tx) => {
        // The job's row is locked first, as every other statement does that goes on to the file's row: no deadlock.
        if (!(await ledger.holdIn(tx, row))) throw new Stopped('taken');
        result = await work(tx);
        await ledger.completeIn(tx, row, result);
        return result;
      });
    } catch (error) {
      // The answer to an earlier COMMIT may have been lost on its way: then this attempt has completed the row already.
      if (error instanceof Stopped && tries > 1 && (await ledger.completedBy(row))) return result!;
      if (!isTransient(error) || signal.aborted) throw error;
      await sleep(Math.min(tries * 100, 2_000), undefined, { signal }).catch(() => {});
    }
  }
}

/** Writes the outcome of an attempt to its row, and a line to the log. Never throws. */
export async function record(row: JobRow, outcome: Outcome, options: AttemptOptions, began: number): Promise<void> {
  const attempt = { kind: row.kind, job_id: row.id, attempt: row.attempt };
  try {
    const written = await write(row, outcome, options);
    options.log[written.outcome === 'completed' ? 'info' : 'warn'](
      { ...attempt, ...written, duration_ms: Math.round(performance.now() - began) },
      'attempt ended',
    );
  } catch (error) {
    // The row stays processing, run by nobody: the worker looks for such rows of its own, and retries them.
    options.log.error({ ...attempt, err: error }, 'could not write the outcome of a job');
  }
}

async function write(row: JobRow, outcome: Outcome, options: AttemptOptions): Promise<Written> {
  const { app, ledger } = options;
  const { id, attempt } = row;
  const lost = { outcome: 'dropped', reason: 'the row is no longer ours' } as const;
  switch (outcome.outcome) {
    case 'committed':
      return { outcome: 'completed' };
    case 'completed': {
      try {
        const done = await ledger.complete({ id, attempt, result: outcome.result });
        // The result itself may be anybody's data: it goes to the row and not to the log.
        return done ? { outcome: 'completed' } : lost;
      } catch (error) {
        const words = redactor(app.config.secrets)(messageOf(error));
        return write(row, { outcome: 'retry', error_code: 'result_not_stored', error: words }, options);
      }
    }
    case 'snooze':
      return (await ledger.snooze({ id, attempt, delay_ms: outcome.delay_ms })) ? outcome : lost;
    case 'dropped':
      return outcome;
    case 'retry':
    case 'fail': {
      const { error_code, error } = outcome;
      const failed = await ledger.fail({ id, attempt, error_code, error, permanent: outcome.outcome === 'fail' });
      if (!failed) return lost;
      return {
        outcome: failed.status === 'failed' ? 'fail' : 'retry',
        error_code,
        status: failed.status,
        retry_count: failed.retry_count,
      };
    }
  }
}

/**
 * The result of the work; or the reason why it was stopped, thrown, when it does not end within the grace after the signals of all its
 * attempts have fired. They fire when the time limit is over, if not before.
 */
export async function inTime<T>(work: Promise<T>, attempts: AbortController[], limit = defaultTimeoutMs): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  let grace: NodeJS.Timeout | undefined;
  const onAbort = () => {
    if (!attempts.every(({ signal }) => signal.aborted)) return;
    grace ??= setTimeout(() => stopped.reject(attempts[0]!.signal.reason as Error), graceMs);
  };
  const timer = setTimeout(() => {
    const late = new RetryableError('timeout', `The job took longer than its limit of ${limit / 1_000} s`);
    for (const controller of attempts) controller.abort(late);
  }, limit);
  for (const { signal } of attempts) signal.addEventListener('abort', onAbort);
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    for (const { signal } of attempts) signal.removeEventListener('abort', onAbort);
  }
}
