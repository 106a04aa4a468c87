import type { App } from '../app.ts';
import { transaction, type Db } from '../base/db/db.ts';
import type { Names } from '../base/db/names.ts';
import { Executor } from './run/executor.ts';
import type { Incidents, ProbeJob } from './run/incidents.ts';
import { Ledger } from './run/ledger.ts';
import { failLost } from './run/lost.ts';
import type { Observer } from './run/observer.ts';
import type { Membership } from './fleet/liveness.ts';
import { addLost } from './fleet/rollups.ts';
import { Stopped } from './run/outcome.ts';
import { paced } from '../base/paced.ts';
import { createLimiter } from './run/rate-limit.ts';
import { mostAside } from './run/slots.ts';
import type { Registry } from './registry.ts';
import { Runner } from './claim/runner.ts';
import { dueTickets, type DueTicket } from './claim/due-tickets.ts';
import { Neglect } from './claim/neglect.ts';
import type { Uncommitted } from './claim/uncommitted.ts';
import { Waking, type Timing } from './claim/waking.ts';
import { concurrencyOf, type QueueRow } from './served.ts';

export type Serving = {
  app: App;
  names: Names;
  /** The worker's search_path. */
  path: string;
  db: Db;
  claims: Db;
  membership: Membership;
  incidents: Incidents;
  registry: Registry;
  observer: Required<Observer>;
  uncommitted: Uncommitted;
  /** Reads which jobs will be due soon. */
  refreshAlarm: () => void;
  timing?: Timing | undefined;
  signal: AbortSignal;
};

/** The smallest smallint. */
const mostUrgent = -32_768;
/** Attempts that have been running for less are not looked for among the orphaned: ledger.sql. */
const attemptAgeMs = 10_000;
/** How long a queue in which nothing runs is not searched for orphaned jobs. Somebody may make some with SQL. */
const longestTrustMs = 30_000;

/** One queue as this process serves it: a runner claims its tickets, an executor runs their jobs. */
export class ServedQueue {
  readonly name: string;
  readonly #serving: Serving;
  readonly #concurrency: number;
  /** Its row as last read. */
  #settings: QueueRow;
  readonly #ledger: Ledger;
  readonly #executor: Executor;
  readonly #runner: Runner;
  readonly #waking: Waking;
  readonly #neglect: Neglect;
  /** When orphaned jobs were last looked for. */
  #soughtAt = -Infinity;
  readonly #dueTickets: ReturnType<typeof dueTickets>;

  /** @param settings its row at the start */
  constructor(settings: QueueRow, serving: Serving) {
    this.name = settings.name;
    this.#settings = settings;
    this.#serving = serving;
    this.#concurrency = concurrencyOf(this.name, serving.app.config);
    this.#dueTickets = dueTickets(serving.db, serving.names.tickets);
    this.#ledger = this.#openLedger();
    this.#executor = this.#createExecutor();
    this.#waking = this.#createWaking();
    this.#runner = this.#createRunner();
    this.#neglect = new Neglect({
      queue: this.name,
      isIdle: () => this.#runner.wanted && this.#executor.room() > 0 && this.#executor.waiting() === 0,
    });
  }

  #openLedger(): Ledger {
    const { names, path, db, claims, membership, signal } = this.#serving;
    const worker = () => membership.id();
    return new Ledger({ db, claims, schema: names.schema, path, queue: this.name, worker, signal });
  }

  #createExecutor(): Executor {
    const { app, db, incidents, registry, observer, signal } = this.#serving;
    return new Executor({
      queue: this.name,
      concurrency: this.#concurrency,
      app,
      ledger: this.#ledger,
      incidents,
      limiter: createLimiter(db, this.name, () => this.#settings.rate_limit, app.log, signal),
      registry,
      observer,
      log: app.log.child({ queue: this.name }),
      timeoutMs: () => this.#settings.timeout_ms,
      ticketSize: () => this.#settings.batch_size,
      onRoom: () => this.#runner.goOn(),
    });
  }

  #createWaking(): Waking {
    const { app, db, membership, uncommitted, timing, refreshAlarm } = this.#serving;
    return new Waking({
      queue: this.name,
      db,
      log: app.log,
      worker: () => membership.id(),
      poll: () => {
        this.#runner.poll();
        this.#makeRoomSoon();
      },
      catchUp: () => {
        this.#runner.wake();
        refreshAlarm();
      },
      uncommitted,
      timing,
    });
  }

  #createRunner(): Runner {
    const { app, names, claims, membership } = this.#serving;
    return new Runner({
      queue: this.name,
      schema: names.tickets,
      slots: this.#concurrency + mostAside,
      db: claims,
      log: app.log,
      take: (ticket) => {
        this.#neglect.took();
        return this.#executor.take(ticket);
      },
      room: () => this.#executor.room(),
      waking: this.#waking,
      pools: membership.pools,
    });
  }

  /** @param tickets how many are known to be due */
  wake(tickets?: number): void {
    this.#runner.wake(tickets);
    this.#makeRoomSoon();
  }

  /** To be called each time that Postgres was asked which ticket of the queue is due, with the answer. */
  polled(next: DueTicket | undefined): void {
    this.#neglect.asked(next?.waiting_ms ?? 0);
    if (next) this.#runner.wake();
    else this.#runner.foundNothing();
  }

  /** To be called for each notification about the queue. */
  heard(): void {
    this.#waking.heard();
  }

  /** Wakes it when notifications may have been missed. */
  missed(): void {
    if (this.#runner.claimedAt) this.#waking.start();
  }

  #makeRoomSoon(): void {
    void this.#makeRoom().catch(() => {});
  }

  /** Makes room for a more urgent ticket, if one waits that cannot be claimed. */
  readonly #makeRoom = paced(20, async () => {
    for (;;) {
      const below = this.#executor.crowdedBy();
      if (below === undefined) return;
      const [next] = await this.#dueTickets([this.name]);
      if (!next || next.priority >= below) return;
      await this.#executor.makeRoom();
    }
  });

  /** Follows what people change with SQL: the queue's row, and running jobs that were cancelled or set back. */
  async follow(row: QueueRow = this.#settings): Promise<void> {
    this.#settings = row;
    if (row.paused) void this.halt();
    else {
      this.#executor.resume();
      this.#runner.start();
    }
    const attempts = this.#executor.running.attempts();
    if (attempts.length > 0) void this.#executor.abort(new Stopped('taken'), await this.#ledger.taken(attempts));
  }

  /** Whether it is paused now. */
  paused(): boolean {
    return this.#settings.paused;
  }

  /** Gives back the jobs of the backlog that an incident holds. */
  letGo(): void {
    this.#executor.letGo();
  }

  /** Runs this job next. Resolves when it has ended, or has turned out not to be ours. */
  probe({ id, kind }: ProbeJob): Promise<void> {
    return this.#executor.take({ kind, ids: [id], priority: mostUrgent, probe: true });
  }

  /**
   * Retries jobs that this worker runs according to their rows, but does not: the answer to a statement was lost, or
   * the statement never arrived.
   */
  async findOrphans(): Promise<void> {
    const { app, db, membership } = this.#serving;
    const now = performance.now();
    const idleFor = this.#soughtAt - this.#executor.idleSince();
    if (idleFor > attemptAgeMs && now - this.#soughtAt < longestTrustMs) return;
    const orphaned = (await this.#ledger.recorded()).filter((attempt) => !this.#executor.mayRun(attempt));
    this.#soughtAt = now;
    if (orphaned.length === 0) return;
    await transaction(db, async (tx) => addLost(tx, await failLost(tx, this.name, membership.id(), orphaned)));
    app.log.warn({ queue: this.name, jobs: orphaned.length }, 'retried jobs that this worker lost track of');
  }

  /** What its jobs wait for that have waited for so many milliseconds. */
  waits(ms: number) {
    return this.#executor.running.waits(ms);
  }

  async reportProgress(): Promise<void> {
    const reports = this.#executor.running.takeProgress();
    if (reports.length > 0) await this.#ledger.progress(reports);
  }

  /** Starts graphile-worker again, for example after a newer version has changed its tables. */
  restart(): void {
    this.#runner.restart();
  }

  /** Claims and starts nothing more. Resolves when the claimed tickets are given back. */
  async halt(): Promise<void> {
    await Promise.all([this.#executor.pause(), this.#runner.stop()]);
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#executor.idle();
  }

  abort(because: Stopped['because']): Promise<void> {
    return this.#executor.abort(new Stopped(because));
  }

  /** Why it is not served, or undefined when it is. */
  trouble(): string | undefined {
    if (!this.#runner.wanted) return undefined;
    const { claimedAt } = this.#runner;
    if (!claimedAt) return `queue ${this.name} is not being claimed`;
    const patienceMs = this.#serving.app.config.pollIntervalMs * 2 + 10_000;
    if (this.#executor.room() > 0 && Date.now() - claimedAt > patienceMs)
      return `queue ${this.name} has not been claimed for more than ${patienceMs / 1_000} s`;
    return this.#neglect.trouble();
  }

  /** What runs here now. */
  activity() {
    return {
      queue: this.name,
      running: this.#executor.running.attempts().length,
      concurrency: this.#concurrency,
      paused: this.#settings.paused,
    };
  }
}
