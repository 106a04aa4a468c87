import { runAttempt, type AttemptOptions } from './attempt.ts';
import type { Attempt, JobRow } from './ledger.ts';
import type { Stopped } from './outcome.ts';

/**
 * The jobs of one queue in this process: a ticket's jobs come in by `take`, wait in order of priority for room, are started, and run
 * (attempt.ts).
 */
export type Executor = ReturnType<typeof createExecutor>;

export type ExecutorOptions = Pick<AttemptOptions, 'app' | 'ledger' | 'registry' | 'timeoutMs' | 'dueIn'> & {
  queue: string;
  /** Jobs run at once. */
  concurrency: number;
};

type Waiting = { id: number; priority: number; settle: () => void };
type Running = { id: number; attempt: number; controller: AbortController; progress?: number; settled: Promise<void> };

export function createExecutor(options: ExecutorOptions) {
  const { queue, concurrency, app, ledger } = options;
  const log = app.log.child({ queue });
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
    const controller = new AbortController();
    const settled = Promise.withResolvers<void>();
    const entry: Running = { id: row.id, attempt: row.attempt, controller, settled: settled.promise };
    running.add(entry);
    await runAttempt(row, {
      ...options,
      log: log.child({ kind: row.kind, job_id: row.id, attempt: row.attempt }),
      controller,
      progress: (percent) => {
        entry.progress = Math.max(0, Math.min(100, Math.round(percent)));
      },
    });
    running.delete(entry);
    settled.resolve();
    startSome();
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
