import { runAttempt, type Attempting, type AttemptOptions } from './attempt.ts';
import { createBacklog, type Ticket, type Waiting } from './backlog.ts';
import { runBatch } from './batch.ts';
import type { Attempt, JobRow } from './ledger.ts';
import type { Stopped } from './outcome.ts';
import type { Limiter } from './rate-limit.ts';
import { Stop } from './stop.ts';

/**
 * The jobs of one queue in this process: a ticket's jobs come in by `take`, wait in the backlog for room, are started, and run
 * (attempt.ts).
 */
export type Executor = ReturnType<typeof createExecutor>;

export type ExecutorOptions = AttemptOptions & {
  queue: string;
  limiter: Limiter;
  /** Jobs run at once; a batch counts as one. */
  concurrency: number;
};

type Running = Attempting & { ended: Promise<void> };

const startsInFlight = 2;
/** Jobs, or batches, that one statement starts at most. */
const startsAtOnce = 250;

export function createExecutor(options: ExecutorOptions) {
  const { queue, concurrency, ledger, limiter, registry, log } = options;
  const backlog = createBacklog();
  // By attempt and not by job: one that was set back to pending by hand may start again while its last attempt is still stopping.
  const running = new Map<string, Running>();
  /** Tickets in hand. */
  let tickets = 0;
  /** Room for more jobs, or batches: what is being started has taken its place already. */
  let places = concurrency;
  let filling = 0;
  /** The start statements in flight, and what they are to start. */
  const starting = new Map<Promise<number>, Set<number>>();
  let paused = false;

  /** Takes on the jobs of one ticket. Resolves when each has been run or turned out not to be ours. */
  async function take(ticket: Ticket): Promise<void> {
    tickets++;
    const settled = backlog.add(ticket);
    // It may have been claimed while we paused.
    if (paused) void giveBack(backlog.takeAll());
    else fill();
    await settled;
    tickets--;
  }

  // Two start statements may be in flight: while Postgres does one, the jobs of the other are set running here.
  function fill(): void {
    while (filling < startsInFlight && hasWork()) {
      filling++;
      void startSome().finally(() => {
        filling--;
        fill();
      });
    }
  }

  const hasWork = () => !paused && places > 0 && backlog.size() > 0;

  async function startSome(): Promise<void> {
    const allowed = await limiter.take(backlog.usable(places, batchSize));
    const groups = paused ? [] : backlog.next(Math.min(places, startsAtOnce), batchSize, allowed);
    places -= groups.length;
    let started = 0;
    if (groups.length > 0) {
      const statement = start(groups);
      starting.set(statement, new Set(groups.flatMap((group) => group.map(({ id }) => id))));
      started = await statement;
      starting.delete(statement);
    }
    limiter.giveBack(allowed - started);
  }

  /** @returns how many jobs it started */
  async function start(groups: Waiting[][]): Promise<number> {
    try {
      const ids = groups.flatMap((group) => group.map(({ id }) => id));
      const rows = await ledger.start(ids);
      const ours = new Map(rows.map((row) => [row.id, row]));
      for (const group of groups) runGroup(group, ours);
      return rows.length;
    } catch (error) {
      // One row that cannot be started must not keep its neighbours from it.
      const jobs = groups.flat();
      if (jobs.length > 1) {
        let started = 0;
        places += groups.length - jobs.length;
        for (const job of jobs) started += await start([[job]]);
        return started;
      }
      // The row is pending still, and found by the reconciler; or processing, and found by the look for strays.
      log.error({ err: error, job_id: jobs[0]?.id }, 'could not start a job');
      for (const { settle } of jobs) settle();
      places++;
      return 0;
    }
  }

  /** Runs those jobs of a group that were started, on the place that is held for it. */
  function runGroup(group: Waiting[], ours: Map<number, JobRow>): void {
    places++;
    const batches = new Map<string, { row: JobRow; settle: () => void }[]>();
    for (const { id, settle } of group) {
      const row = ours.get(id);
      // Two tickets may name one job: it runs once.
      ours.delete(id);
      if (row === undefined || runs(row)) settle();
      else if (batchSize(row.kind) === 1) void run([{ row, settle }]);
      else batches.set(row.kind, [...(batches.get(row.kind) ?? []), { row, settle }]);
    }
    for (const batch of batches.values()) void run(batch);
  }

  /** Runs one job, or one batch of jobs of one kind. */
  async function run(jobs: { row: JobRow; settle: () => void }[]): Promise<void> {
    const ended = Promise.withResolvers<void>();
    const entries = jobs.map(({ row }) => enter(row, ended.promise));
    places--;
    const definition = registry.get(`${queue}.${jobs[0]!.row.kind}`);
    if (definition && 'runBatch' in definition) await runBatch(definition, entries, options);
    else await runAttempt(entries[0]!, options);
    places++;
    for (const { row } of entries) running.delete(keyOf(row));
    for (const { settle } of jobs) settle();
    ended.resolve();
    fill();
  }

  function enter(row: JobRow, ended: Promise<void>): Running {
    const entry: Running = { row, stop: new Stop(), ended };
    running.set(keyOf(row), entry);
    return entry;
  }

  function batchSize(kind: string | undefined): number {
    const definition = registry.get(`${queue}.${kind}`);
    return definition && 'runBatch' in definition ? definition.batchSize : 1;
  }

  const runs = (attempt: Attempt) => running.has(keyOf(attempt));

  /** Stops all running attempts, or those given. Resolves when their outcomes are written. */
  async function abort(reason: Stopped, attempts?: Attempt[]): Promise<void> {
    if (!attempts) await Promise.all(starting.keys());
    const entries = attempts ? attempts.flatMap((attempt) => running.get(keyOf(attempt)) ?? []) : [...running.values()];
    for (const { stop } of entries) stop.now(reason);
    await Promise.all(entries.map(({ ended }) => ended));
  }

  /** Gives jobs that were not started a ticket for another worker, or for later. */
  async function giveBack(jobs: Waiting[]): Promise<void> {
    if (jobs.length === 0) return;
    await ledger
      .giveBack(jobs.map(({ id }) => id))
      .catch((error: unknown) => log.warn({ err: error }, 'could not give jobs back'));
    for (const { settle } of jobs) settle();
  }

  return {
    take,
    abort,

    /** Starts nothing more, and gives back what waits. */
    pause(): Promise<void> {
      paused = true;
      return giveBack(backlog.takeAll());
    },

    resume(): void {
      paused = false;
      if (hasWork()) fill();
    },

    /** The least urgent priority that waits, when so many tickets are held that a more urgent one cannot be claimed. */
    crowdedBy: (): number | undefined => (tickets >= concurrency ? backlog.leastUrgent() : undefined),

    /** Makes room for a more urgent ticket: gives back what waits of the least urgent one. */
    makeRoom: (): Promise<void> => giveBack(backlog.takeLast()),

    /** Whether no more tickets can be claimed now. */
    isFull: () => tickets >= concurrency,

    /** Whether this attempt is under way here, or may be about to be. */
    mayRun: (attempt: Attempt) => runs(attempt) || [...starting.values()].some((ids) => ids.has(attempt.id)),

    /** The attempts under way. */
    attempts: (): Attempt[] => [...running.values()].map(({ row: { id, attempt } }) => ({ id, attempt })),

    /** Resolves when nothing runs. */
    async idle(): Promise<void> {
      while (starting.size > 0 || running.size > 0)
        await Promise.all([...starting.keys(), ...[...running.values()].map(({ ended }) => ended)]);
    },

    /** The progress reported since the last call. */
    takeProgress: () =>
      [...running.values()].flatMap((entry) => {
        const { row, progress } = entry;
        delete entry.progress;
        return progress === undefined ? [] : [{ id: row.id, attempt: row.attempt, progress }];
      }),
  };
}

const keyOf = ({ id, attempt }: Attempt) => `${id} ${attempt}`;
