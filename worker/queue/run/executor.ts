import { isTransient, isUnsent } from '../../base/db/db.ts';
import { messageOf, Snooze } from '../../base/errors.ts';
import { runAttempt, type Attempting, type AttemptOptions } from './attempt.ts';
import { createBacklog, type Ticket, type Waiting } from './backlog.ts';
import { runBatch } from './batch.ts';
import type { Attempt } from './ledger.ts';
import type { JobRow } from '../job.ts';
import type { Stopped } from './outcome.ts';
import type { Limiter } from './rate-limit.ts';
import type { Registry } from '../registry.ts';
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
  /** Jobs on a ticket, of those that were inserted together. */
  ticketSize: () => number;
  /** Told whenever jobs have left the backlog and there is room for more. */
  onRoom: () => void;
};

type Running = Attempting & {
  key: string;
  settle: () => void;
  /** Resolves when its outcome is written; made when somebody waits for it. */
  ended?: PromiseWithResolvers<void>;
};

/** As workers.waiting has it. */
export type Waits = { job_id: number; waits_for: string; since: string };

/** Jobs that may run without a place: each may have a large original on the disk. */
export const mostAside = 4;
/** When one that found no room beside these comes back: it downloads its original again. */
const asideMs = 300_000;
const startsInFlight = 2;
/** Jobs, or batches, that one statement starts at most. */
const startsAtOnce = 500;

export function createExecutor(options: ExecutorOptions) {
  const { queue, concurrency, incidents, ledger, limiter, registry, log } = options;
  const backlog = createBacklog();
  /** Jobs that may wait here: what can be started soon. More would only be kept from other workers. */
  const enough = 4 * concurrency * largestBatch(registry, queue);
  // By attempt and not by job: one that was set back to pending by hand may start again while its last attempt is still stopping.
  const running = new Map<string, Running>();
  /** Tickets in hand. */
  let tickets = 0;
  /** Room for more jobs, or batches: what is being started has taken its place already. */
  let places = concurrency;
  /** Jobs that run without a place. */
  let aside = 0;
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
    else if (isHeld(ticket)) letGo();
    else fill();
    await settled;
    tickets--;
  }

  const isHeld = ({ kind, probe }: Ticket) => !probe && kind !== undefined && incidents.holds({ queue, kind });

  /** Gives back the jobs that wait here and are held by an incident. */
  function letGo(): void {
    void giveBack(backlog.takeWhere(isHeld));
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

  /** How many more tickets are to be claimed: as many as there are slots for, and as have jobs that can be started soon. */
  function room(): number {
    const jobs = Math.max(0, places + enough - backlog.size());
    return Math.min(Math.max(0, concurrency + aside - tickets), Math.ceil(jobs / options.ticketSize()));
  }

  const hasWork = () => !paused && places > 0 && backlog.size() > 0;

  async function startSome(): Promise<void> {
    const allowed = await limiter.take(backlog.usable(places, batchSize));
    const groups = paused ? [] : backlog.next(Math.min(places, startsAtOnce), batchSize, allowed);
    places -= groups.length;
    if (room() > 0) options.onRoom();
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
      log.error({ err: error, job_id: jobs[0]?.id }, 'could not start a job');
      // Refused, unless Postgres is away: then it is pending still, and found by the reconciler; or processing, and found by the look for strays.
      if (!isTransient(error) && !isUnsent(error)) await ledger.refuse(jobs[0]!.id, messageOf(error)).catch(() => {});
      for (const { settle } of jobs) settle();
      places++;
      return 0;
    }
  }

  /** Runs those jobs of a group that were started, on the place that is held for it. */
  function runGroup(group: Waiting[], ours: Map<number, JobRow>): void {
    places++;
    const entries: Running[] = [];
    for (const job of group) {
      const entry = enter(job, ours);
      if (entry) entries.push(entry);
    }
    if (entries.length === 1) void run(entries[0]!.row.kind, entries);
    else runEach(entries);
  }

  /** Runs jobs of any kinds: together those that their kind runs by one call. */
  function runEach(entries: Running[]): void {
    for (const [kind, some] of Map.groupBy(entries, ({ row }) => row.kind)) {
      if (batchSize(kind) > 1) void run(kind, some);
      else for (const entry of some) void run(kind, [entry]);
    }
  }

  /** A job that was started and does not run already: two tickets may name one job. */
  function enter({ id, settle }: Waiting, ours: Map<number, JobRow>): Running | undefined {
    const row = ours.get(id);
    const key = row ? keyOf(row) : '';
    if (!row || running.has(key)) {
      settle();
      return undefined;
    }
    const entry: Running = { key, row, settle, stop: new Stop() };
    running.set(key, entry);
    return entry;
  }

  /** Runs one job, or one batch of jobs of one kind. */
  async function run(kind: string, entries: Running[]): Promise<void> {
    places--;
    const definition = registry.get(`${queue}.${kind}`);
    if (definition && 'runBatch' in definition) {
      await runBatch(definition, entries, options);
      places++;
    } else await runAlone(entries[0]!);
    entries.forEach(leave);
    fill();
  }

  /** Runs a job on its place, which it may give up before it ends. */
  async function runAlone(entry: Running): Promise<void> {
    let isAside = false;
    entry.stepAside = () => {
      if (isAside) return;
      if (aside >= mostAside) throw new Snooze(asideMs, 'as many long jobs as may wait here do', { bounded: false });
      isAside = true;
      aside++;
      places++;
      fill();
      options.onRoom();
    };
    await runAttempt(entry, options);
    if (isAside) aside--;
    else places++;
    // Of a handler that goes on although it was judged.
    delete entry.stepAside;
  }

  function leave({ key, settle, ended }: Running): void {
    running.delete(key);
    settle();
    ended?.resolve();
  }

  const endOf = (entry: Running) => (entry.ended ??= Promise.withResolvers<void>()).promise;

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
    await Promise.all(entries.map(endOf));
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
    letGo,
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
    crowdedBy: (): number | undefined => (room() === 0 ? backlog.leastUrgent() : undefined),

    /** Makes room for a more urgent ticket: gives back what waits of the least urgent one. */
    makeRoom: (): Promise<void> => giveBack(backlog.takeLast()),

    room,

    /** Jobs that were claimed and are not started yet. */
    waiting: () => backlog.size(),

    /** Whether this attempt is under way here, or may be about to be. */
    mayRun: (attempt: Attempt) => runs(attempt) || [...starting.values()].some((ids) => ids.has(attempt.id)),

    /** The attempts under way. */
    attempts: (): Attempt[] => [...running.values()].map(({ row: { id, attempt } }) => ({ id, attempt })),

    /** Resolves when nothing runs. */
    async idle(): Promise<void> {
      while (starting.size > 0 || running.size > 0)
        await Promise.all([...starting.keys(), ...[...running.values()].map(endOf)]);
    },

    /** The jobs that have waited for longer than this. */
    waits: (ms: number): Waits[] =>
      [...running.values()].flatMap(({ row, waits }) =>
        waits && Date.now() - waits.since > ms
          ? [{ job_id: row.id, waits_for: waits.for, since: new Date(waits.since).toISOString() }]
          : [],
      ),

    /** The progress reported since the last call. */
    takeProgress: () =>
      [...running.values()].flatMap((entry) => {
        const { row, progress } = entry;
        delete entry.progress;
        return progress === undefined ? [] : [{ id: row.id, attempt: row.attempt, progress }];
      }),
  };
}

function largestBatch(registry: Registry, queue: string): number {
  const sizes = [...registry].map(([name, kind]) =>
    name.startsWith(`${queue}.`) && 'runBatch' in kind ? kind.batchSize : 1,
  );
  return Math.max(1, ...sizes);
}

const keyOf = ({ id, attempt }: Attempt) => `${id} ${attempt}`;
