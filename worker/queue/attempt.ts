import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../app.ts';
import { isTransient, transaction, type Tx } from '../base/db.ts';
import { messageOf, RetryableError } from '../base/errors.ts';
import { redactor, type Log } from '../base/log.ts';
import type { JobContext } from './job.ts';
import { storable, type JobRow, type Ledger } from './ledger.ts';
import { judge, Stopped, type Outcome } from './outcome.ts';
import { accept, type Registry } from './registry.ts';

/** What one attempt runs with. */
export type AttemptOptions = {
  app: App;
  ledger: Ledger;
  registry: Registry;
  /** Bound to the attempt. */
  log: Log;
  /** Its signal stops the handler; the reason says why. */
  controller: AbortController;
  /** queues.timeout_ms, where set: it overrides the handler's own limit. */
  timeoutMs: () => number | null;
  /** Told how far the handler says it is, 0 to 100. */
  progress: (percent: number) => void;
  /** Told how long until the job is due again, when it was put back. */
  dueIn: (ms: number) => void;
};

/** What the log is told of an attempt: never its error's words, which may quote anything. */
type Written = { outcome: string; [field: string]: unknown };

/** How long a handler may go on after its signal fired, before its job is judged without it. */
const graceMs = 5_000;
const defaultTimeoutMs = 300_000;

/** Runs the handler of a job that was started, judges how it went, and writes that to the row. Never throws. */
export async function runAttempt(row: JobRow, options: AttemptOptions): Promise<void> {
  const began = performance.now();
  const { log } = options;
  try {
    const written = await write(row, await execute(row, options), options);
    log[written.outcome === 'completed' ? 'info' : 'warn'](
      { ...written, duration_ms: Math.round(performance.now() - began) },
      'attempt ended',
    );
  } catch (error) {
    // The row stays processing, run by nobody: the worker looks for such rows of its own, and retries them.
    log.error({ err: error }, 'could not write the outcome of a job');
  }
}

async function execute(row: JobRow, options: AttemptOptions): Promise<Outcome> {
  const { app, log, registry, controller, timeoutMs, progress } = options;
  const { signal } = controller;
  let committed = false;
  let timer: NodeJS.Timeout | undefined;
  try {
    const { definition, payload } = accept(registry, row);
    const limit = timeoutMs() ?? definition.timeout ?? defaultTimeoutMs;
    const late = new RetryableError('timeout', `The job took longer than its limit of ${limit / 1_000} s`);
    timer = setTimeout(() => controller.abort(late), limit);
    const commitOnce: JobContext<unknown>['commit'] = async (work) => {
      const result = await commit(row, work, options);
      committed = true;
      return result;
    };
    const context = { job: row, payload, app, log, signal, progress, commit: commitOnce };
    const result = await untilStopped(definition.run(context), signal);
    if (committed) return { outcome: 'committed' };
    storable(result);
    return { outcome: 'completed', result };
  } catch (error) {
    if (committed) return { outcome: 'committed' };
    return judge(error, signal.reason, redactor(app.config.secrets));
  } finally {
    clearTimeout(timer);
  }
}

async function commit<Result>(
  row: JobRow,
  work: (tx: Tx) => Promise<Result>,
  { app, ledger, controller: { signal } }: AttemptOptions,
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

async function write(row: JobRow, outcome: Outcome, options: AttemptOptions): Promise<Written> {
  const { app, ledger, dueIn } = options;
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
      dueIn(outcome.delay_ms);
      return (await ledger.snooze({ id, attempt, delay_ms: outcome.delay_ms })) ? outcome : lost;
    case 'dropped':
      return outcome;
    case 'retry':
    case 'fail': {
      const { error_code, error } = outcome;
      const failed = await ledger.fail({ id, attempt, error_code, error, permanent: outcome.outcome === 'fail' });
      if (!failed) return lost;
      if (failed.status === 'pending') dueIn(failed.due_in_ms);
      return {
        outcome: failed.status === 'failed' ? 'fail' : 'retry',
        error_code,
        status: failed.status,
        retry_count: failed.retry_count,
      };
    }
  }
}

/** The handler's result; or, when its signal has fired and it does not end within the grace, the reason, thrown. */
async function untilStopped<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const giveUpSoon = () => {
    timer = setTimeout(() => stopped.reject(signal.reason as Error), graceMs);
  };
  signal.addEventListener('abort', giveUpSoon);
  try {
    return await Promise.race([work, stopped.promise]);
  } finally {
    signal.removeEventListener('abort', giveUpSoon);
    clearTimeout(timer);
  }
}
