import { isTransient, isUnsent } from '../../base/db/db.ts';
import { messageOf } from '../../base/errors.ts';
import type { JobRow } from '../job.ts';
import { runAttempt } from './attempt.ts';
import type { AttemptOptions } from './attempting.ts';
import { Backlog, type Ticket, type Waiting } from './backlog.ts';
import { batchSizeOf, largestBatch, runBatch } from './batch.ts';
import type { Attempt } from './ledger.ts';
import type { Stopped } from './outcome.ts';
import type { Limiter } from './rate-limit.ts';
import { endOf, Running, type Entry } from './running.ts';
import { Slots, type Lease } from './slots.ts';

export type ExecutorOptions = AttemptOptions & {
  queue: string;
  limiter: Limiter;
  /** Jobs run at once; a batch counts as one. */
  concurrency: number;
  /** Jobs on a ticket, of those that were inserted together. */
  ticketSize: () => number;
  /** Called when jobs have left the backlog and there is room for more. */
  onRoom: () => void;
};

/** Jobs that are started together, on the slot that was taken for them. */
type Group = { jobs: Waiting[]; lease: Lease };

/** Two start statements at once: while Postgres runs one, the jobs that the other has started begin to run here. */
const startsInFlight = 2;
/** Jobs, or batches, that one statement starts at most. */
const startsAtOnce = 500;

/** The jobs of one queue in this process: they come by `take`, wait for a slot, are started, and run (attempt.ts). */
export class Executor {
  readonly #options: ExecutorOptions;
  readonly #backlog = new Backlog();
  readonly running = new Running();
  readonly #slots: Slots;
  /** How many jobs may wait here: only what can start soon. More would be withheld from other workers. */
  readonly #enough: number;
  /** Tickets in hand. */
  #tickets = 0;
  #filling = 0;
  /** The start statements in flight, and what they are to start. */
  readonly #starting = new Map<Promise<number>, Set<number>>();
  #paused = false;
  #idleSince = -Infinity;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#enough = 4 * options.concurrency * largestBatch(options.registry, options.queue);
    this.#slots = new Slots(options.concurrency, () => {
      this.#fill();
      options.onRoom();
    });
  }

  /** Takes on the jobs of one ticket. Resolves when each has been run or turned out not to be ours. */
  async take(ticket: Ticket): Promise<void> {
    this.#tickets++;
    const settled = this.#backlog.add(ticket);
    // A claim that was in flight when we paused may arrive now.
    if (this.#paused) void this.#giveBack(this.#backlog.takeAll());
    else if (this.#isHeld(ticket)) this.letGo();
    else this.#fill();
    await settled;
    this.#tickets--;
  }

  #isHeld({ kind, probe }: Ticket): boolean {
    const { queue, incidents } = this.#options;
    return !probe && kind !== undefined && incidents.holds({ queue, kind });
  }

  /** Gives back the jobs that wait here and are held by an incident. */
  letGo(): void {
    void this.#giveBack(this.#backlog.takeWhere((ticket) => this.#isHeld(ticket)));
  }

  #fill(): void {
    while (this.#filling < startsInFlight && !this.#paused && this.#slots.free > 0 && this.#backlog.size > 0) {
      this.#filling++;
      void this.#startSome().finally(() => {
        this.#filling--;
        this.#fill();
      });
    }
  }

  /** How many more tickets to claim: as many as there are slots for, and as have jobs that can be started soon. */
  room(): number {
    const { concurrency, ticketSize } = this.#options;
    const jobs = Math.max(0, this.#slots.free + this.#enough - this.#backlog.size);
    const slots = Math.max(0, concurrency + this.#slots.aside - this.#tickets);
    return Math.min(slots, this.#backlog.ticketsFor(jobs, ticketSize()));
  }

  async #startSome(): Promise<void> {
    const { limiter, onRoom } = this.#options;
    const batchSize = (kind: string | undefined) => this.#batchSize(kind);
    const allowed = await limiter.take(this.#backlog.usable(this.#slots.free, batchSize));
    const room = Math.min(this.#slots.free, startsAtOnce);
    const next = this.#paused ? [] : this.#backlog.next(room, batchSize, allowed);
    const groups = next.map((jobs): Group => ({ jobs, lease: this.#slots.take() }));
    if (this.room() > 0) onRoom();
    let started = 0;
    if (groups.length > 0) {
      this.#idleSince = performance.now();
      const statement = this.#start(groups);
      this.#starting.set(statement, new Set(next.flatMap((jobs) => jobs.map(({ id }) => id))));
      started = await statement;
      this.#starting.delete(statement);
    }
    limiter.giveBack(allowed - started);
  }

  /** @returns how many jobs it started */
  async #start(groups: Group[]): Promise<number> {
    const { ledger, log } = this.#options;
    const jobs = groups.flatMap((group) => group.jobs);
    try {
      const ours = new Map<number, JobRow>();
      for (const row of await ledger.start(jobs.map(({ id }) => id)))
        if (row.expired) log.info({ kind: row.kind, job_id: row.id }, 'a job has expired before it could start');
        else ours.set(row.id, row);
      for (const group of groups) this.#runGroup(group, ours);
      return ours.size;
    } catch (error) {
      for (const { lease } of groups) lease.release();
      if (jobs.length === 1) return this.#cannotStart(jobs[0]!, error);
      // One row that cannot be started must not keep its neighbours from it.
      const alone = jobs.map((job): Group => ({ jobs: [job], lease: this.#slots.take() }));
      let started = 0;
      for (const group of alone) started += await this.#start([group]);
      return started;
    }
  }

  async #cannotStart({ id, settle }: Waiting, error: unknown): Promise<number> {
    const { ledger, log } = this.#options;
    log.error({ err: error, job_id: id }, 'could not start a job');
    // If Postgres was away, the reconciler finds the job: it is still pending, or orphaned.
    if (!isTransient(error) && !isUnsent(error)) await ledger.refuse(id, messageOf(error)).catch(() => {});
    settle();
    return 0;
  }

  /**
   * Runs those jobs of a group that were started. The first run has the group's slot; where the jobs are of several
   * kinds, others take one each.
   */
  #runGroup({ jobs, lease }: Group, ours: Map<number, JobRow>): void {
    const entries: Entry[] = [];
    for (const { id, settle } of jobs) {
      const row = ours.get(id);
      const entry = row && this.running.enter(row, settle);
      if (entry) entries.push(entry);
      else settle();
    }
    if (entries.length === 0) return lease.release();
    if (entries.length === 1) return void this.#run(entries, lease);
    const [first, ...others] = this.#runsOf(entries);
    void this.#run(first!, lease);
    for (const run of others) void this.#run(run, this.#slots.take());
  }

  /** Groups jobs into runs: the jobs of a batch kind share one, each other job has its own. */
  #runsOf(entries: Entry[]): Entry[][] {
    return [...Map.groupBy(entries, ({ row }) => row.kind)].flatMap(([kind, some]) =>
      this.#batchSize(kind) > 1 ? [some] : some.map((entry) => [entry]),
    );
  }

  /** Runs one job, or one batch of jobs of one kind. */
  async #run(entries: Entry[], lease: Lease): Promise<void> {
    const entry = entries[0]!;
    const definition = this.#definition(entry.row.kind);
    try {
      if (definition && 'runBatch' in definition) await runBatch(definition, entries, this.#options);
      else {
        entry.lease = lease;
        await runAttempt(entry, this.#options);
      }
    } finally {
      lease.release();
    }
    for (const ended of entries) this.running.leave(ended);
    this.#idleSince = performance.now();
    this.#fill();
  }

  #definition(kind: string | undefined) {
    return this.#options.registry.get(`${this.#options.queue}.${kind}`);
  }

  #batchSize(kind: string | undefined): number {
    return batchSizeOf(this.#definition(kind));
  }

  /** Stops all running attempts, or those given. Resolves when their outcomes are written. */
  async abort(reason: Stopped, attempts?: Attempt[]): Promise<void> {
    if (!attempts) await Promise.all(this.#starting.keys());
    const entries = this.running.entries(attempts);
    for (const { stop } of entries) stop.now(reason);
    await Promise.all(entries.map(endOf));
  }

  /** Gives jobs that were not started a ticket for another worker, or for later. */
  async #giveBack(jobs: Waiting[]): Promise<void> {
    const { ledger, log } = this.#options;
    if (jobs.length === 0) return;
    await ledger
      .giveBack(jobs.map(({ id }) => id))
      .catch((error: unknown) => log.warn({ err: error }, 'could not give jobs back'));
    for (const { settle } of jobs) settle();
  }

  /** Starts nothing more, and gives back what waits. */
  pause(): Promise<void> {
    this.#paused = true;
    return this.#giveBack(this.#backlog.takeAll());
  }

  resume(): void {
    this.#paused = false;
    this.#fill();
  }

  /** Without room for another ticket: the priority of the least urgent one that waits. Otherwise undefined. */
  crowdedBy(): number | undefined {
    return this.room() === 0 ? this.#backlog.leastUrgent() : undefined;
  }

  /** Makes room for a more urgent ticket: gives back what waits of the least urgent one. */
  makeRoom(): Promise<void> {
    return this.#giveBack(this.#backlog.takeLast());
  }

  /** Jobs that were claimed and are not started yet. */
  waiting(): number {
    return this.#backlog.size;
  }

  /** Whether this attempt is under way here, or may be about to be. */
  mayRun(attempt: Attempt): boolean {
    return this.running.has(attempt) || [...this.#starting.values()].some((ids) => ids.has(attempt.id));
  }

  /** Since when nothing runs; Infinity: something does. */
  idleSince(): number {
    return this.#starting.size > 0 || this.running.size > 0 ? Infinity : this.#idleSince;
  }

  /** Resolves when nothing runs. */
  async idle(): Promise<void> {
    while (this.#starting.size > 0 || this.running.size > 0)
      await Promise.all([...this.#starting.keys(), ...this.running.entries().map(endOf)]);
  }
}
