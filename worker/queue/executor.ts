import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../app.ts';
import { isTransient, transaction, type Tx } from '../base/db.ts';
import { messageOf, RetryableError } from '../base/errors.ts';
import { redactor, type Log } from '../base/log.ts';
import type { JobContext } from './job.ts';
import { storable, type Attempt, type JobRow, type Ledger } from './ledger.ts';
import { judge, Stopped, type Outcome } from './outcome.ts';
import { accept, type Registry } from './registry.ts';

/**
 * Runs the jobs of one queue in this process. A ticket's jobs come in by `take`, wait in order of priority for room, are started,
 * run, judged, and written down: read this file from top to bottom to follow one.
 */
export type Executor = ReturnType<typeof createExecutor>;

export type ExecutorOptions = {
  queue: string;
  /** Jobs run at once. */
  concurrency: number;
  app: App;
  ledger: Ledger;
  registry: Registry;
  /** queues.timeout_ms, where set: it overrides the handler's own limit. */
  timeoutMs: () => number | null;
  /** Told how long until a job of this queue that we put back is due. */
  dueIn: (ms: number) => void;
};

/** What the log is told of an attempt: never its error's words, which may quote anything. */
type Written = { outcome: string; [field: string]: unknown };
type Waiting = { id: number; priority: number; settle: () => void };
type Running = { id: number; attempt: number; controller: AbortController; progress?: number; settled: Promise<void> };

/** How long a handler may go on after its signal fired, before its job is judged without it. */
const graceMs = 5_000;
const defaultTimeoutMs = 300_000;

export function createExecutor({ queue, concurrency, app, ledger, registry, timeoutMs, dueIn }: ExecutorOptions) {
  const log = app.log.child({ queue });
  const redact = redactor(app.config.secrets);
  const waiting: Waiting[] = [];
  // By attempt and not by job: one that was set back to pending by hand may start again while its last attempt is still stopping.
  const running = new Set<Running>();
  let starting: Promise<void> | undefined;
  let paused = false;

  /** Takes on the jobs of one ticket. Resolves when each has been run or turned out not to be ours. */
  async function take(ids: number[], priority: number): Promise<void> {
    await Promise.all(
      ids.map(
        (id) =>
          new Promise<void>((settle) => {
            const before = waiting.findIndex((other) => other.priority > priority);
            waiting.splice(before === -1 ? waiting.length : before, 0, { id, priority, settle });
            startSome();
          }),
      ),
    );
  }

  // One start statement is in flight at a time; the jobs that come in meanwhile go with the next.
  function startSome(): void {
    if (starting || paused) return;
    const next = waiting.splice(0, Math.max(0, concurrency - running.size));
    if (next.length === 0) return;
    starting = start(next).finally(() => {
      starting = undefined;
      startSome();
    });
  }

  async function start(next: Waiting[]): Promise<void> {
    try {
      const rows = await ledger.start(next.map(({ id }) => id));
      const ours = new Map(rows.map((row) => [row.id, row]));
      for (const { id, settle } of next) {
        const row = ours.get(id);
        // Two tickets may name one job: it runs once.
        ours.delete(id);
        if (row === undefined || runs(row)) settle();
        else void run(row).finally(settle);
      }
    } catch (error) {
      // One row that cannot be started must not keep its neighbours from it.
      if (next.length > 1) {
        for (const one of next) await start([one]);
        return;
      }
      // The rows are pending still, or will be found by the reconciler: the ticket has done what it could.
      log.error({ err: error, job_id: next[0]?.id }, 'could not start a job');
      for (const { settle } of next) settle();
    }
  }

  async function run(row: JobRow): Promise<void> {
    const started = performance.now();
    const controller = new AbortController();
    const settled = Promise.withResolvers<void>();
    const entry: Running = { id: row.id, attempt: row.attempt, controller, settled: settled.promise };
    running.add(entry);
    const jobLog = log.child({ kind: row.kind, job_id: row.id, attempt: row.attempt });
    try {
      const outcome = await execute(row, entry, jobLog);
      const written = await write(row, outcome);
      jobLog[written.outcome === 'completed' ? 'info' : 'warn'](
        { ...written, duration_ms: Math.round(performance.now() - started) },
        'attempt ended',
      );
    } catch (error) {
      // The row stays processing, run by nobody: the worker looks for such rows of its own, and retries them.
      jobLog.error({ err: error }, 'could not write the outcome of a job');
    } finally {
      running.delete(entry);
      settled.resolve();
      startSome();
    }
  }

  async function execute(row: JobRow, entry: Running, jobLog: Log): Promise<Outcome> {
    const { controller } = entry;
    let committed = false;
    let timer: NodeJS.Timeout | undefined;
    try {
      const { definition, payload } = accept(registry, row);
      const limit = timeoutMs() ?? definition.timeout ?? defaultTimeoutMs;
      timer = setTimeout(
        () =>
          controller.abort(new RetryableError('timeout', `The job took longer than its limit of ${limit / 1_000} s`)),
        limit,
      );
      const context: JobContext<unknown> = {
        job: row,
        payload,
        app,
        log: jobLog,
        signal: controller.signal,
        progress: (percent) => {
          entry.progress = Math.max(0, Math.min(100, Math.round(percent)));
        },
        commit: async (work) => {
          const result = await commit(row, controller.signal, work);
          committed = true;
          return result;
        },
      };
      const result = await untilStopped(definition.run(context), controller.signal);
      if (committed) return { outcome: 'committed' };
      storable(result);
      return { outcome: 'completed', result };
    } catch (error) {
      if (committed) return { outcome: 'committed' };
      return judge(error, controller.signal.reason, redact);
    } finally {
      clearTimeout(timer);
    }
  }

  async function commit<Result>(row: JobRow, signal: AbortSignal, work: (tx: Tx) => Promise<Result>): Promise<Result> {
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

  async function write(row: JobRow, outcome: Outcome): Promise<Written> {
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
          return write(row, { outcome: 'retry', error_code: 'result_not_stored', error: redact(messageOf(error)) });
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

  const runs = ({ id, attempt }: Attempt) => [...running].some((entry) => entry.id === id && entry.attempt === attempt);

  /** Stops all running attempts, or those given. Resolves when their outcomes are written. */
  async function abort(reason: Stopped, attempts?: Attempt[]): Promise<void> {
    if (!attempts) await starting;
    const entries = [...running].filter(
      ({ id, attempt }) => !attempts || attempts.some((other) => other.id === id && other.attempt === attempt),
    );
    for (const { controller } of entries) controller.abort(reason);
    await Promise.all(entries.map(({ settled }) => settled));
  }

  /** Starts nothing more; jobs that were not started get a ticket for another worker, or for later. */
  async function pause(): Promise<void> {
    paused = true;
    const unstarted = waiting.splice(0);
    if (unstarted.length > 0)
      await ledger
        .giveBack(unstarted.map(({ id }) => id))
        .catch((error: unknown) => log.warn({ err: error }, 'could not give jobs back'));
    for (const { settle } of unstarted) settle();
  }

  function resume(): void {
    if (!paused) return;
    paused = false;
    startSome();
  }

  return {
    take,
    abort,
    pause,
    resume,
    /** Whether this attempt is under way here, or may be about to be. */
    mayRun: (attempt: Attempt) => starting !== undefined || runs(attempt),
    /** The attempts under way. */
    attempts: (): Attempt[] => [...running].map(({ id, attempt }) => ({ id, attempt })),
    /** Resolves when nothing runs. */
    idle: async () => {
      while (starting || running.size > 0) await Promise.all([starting, ...[...running].map(({ settled }) => settled)]);
    },
    /** The progress reported since the last call. */
    takeProgress: () =>
      [...running].flatMap((entry) => {
        const { id, attempt, progress } = entry;
        delete entry.progress;
        return progress === undefined ? [] : [{ id, attempt, progress }];
      }),
  };
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
