import type { App } from '../app.ts';
import { isTransient, type Db, type Notification } from '../base/db/db.ts';
import { persist } from '../base/db/persist.ts';
import { loadStatements, query, type Queryable } from '../base/db/sql.ts';
import { watchSessions } from '../base/db/watch.ts';
import { within } from '../base/deadline.ts';
import { TicketsRevision } from './claim/revision.ts';
import type { Timing } from './claim/waking.ts';
import { openEnginePools } from './fleet/connections.ts';
import { Membership } from './fleet/liveness.ts';
import { Reaper } from './fleet/reap.ts';
import { repeat, type Chore } from './fleet/repeat.ts';
import { Rollups } from './fleet/rollups.ts';
import { keepSensitive } from './fleet/sensitive.ts';
import { TroubleLog } from './fleet/trouble-log.ts';
import { keepUp } from './fleet/upkeep.ts';
import type { ServedQueue } from './queue.ts';
import { readDatabase, type Prepared } from './prepare.ts';
import { ServedQueues } from './queues.ts';
import { jointReads } from './reads.ts';
import type { Registry } from './registry.ts';
import { longWaitMs } from './run/context.ts';
import { Incidents, type OpenIncident } from './run/incidents.ts';
import { logAttempts, observeAll, type Observer } from './run/observer.ts';
import { createScheduler } from './schedule/scheduler.ts';

export type WorkerOptions = {
  /** Called for each attempt, after the log. */
  observers?: Observer[] | undefined;
  /** For tests of what wakes a worker. */
  timing?: Timing | undefined;
};

const sql = loadStatements(import.meta.dirname, 'worker.sql', ['tell_waits']);
const abortPatienceMs = 6_000;
/** A busy machine, or a Postgres that restarts just now, must not keep a worker from starting. */
const startPatience = { waitMs: 200, longestMs: 1_000, budgetMs: 60_000 };

/**
 * @throws UsageError if QUEUES or a kind names a queue that the database does not have; the last error, if Postgres
 * does not answer for a minute
 */
export async function startWorker(
  app: App,
  databaseUrl: string,
  registry: Registry,
  options: WorkerOptions = {},
): Promise<Worker> {
  const read = await persist(() => readDatabase(app, registry), undefined, isTransient, startPatience);
  const worker = new Worker({ ...options, ...read, app, databaseUrl, registry });
  await worker.start();
  app.log.info({ worker: worker.id(), queues: worker.queues, kinds: [...registry.keys()] }, 'working');
  return worker;
}

type Parts = WorkerOptions & Prepared & { app: App; databaseUrl: string; registry: Registry };

/**
 * The engine of one process: a runner and an executor for each queue that it serves, its membership of the fleet, and
 * the loops that follow what people change with SQL.
 */
export class Worker {
  /** The queues that it serves. */
  readonly queues: string[];
  readonly #parts: Parts;
  readonly #db: Db;
  readonly #claims: Db;
  readonly #reads: Queryable;
  readonly #membership: Membership;
  readonly #incidents: Incidents;
  readonly #served: ServedQueues;
  readonly #scheduler: ReturnType<typeof createScheduler>;
  readonly #revision: TicketsRevision;
  readonly #rollups: Rollups;
  readonly #stopping = new AbortController();
  #loops: Promise<void>[] = [];
  #draining = false;
  #startingOver: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  /** What this worker's row says of jobs that wait for a turn. */
  #waitsTold = '[]';

  constructor(parts: Parts) {
    const { app, databaseUrl, settings } = parts;
    this.#parts = parts;
    this.queues = settings.map(({ name }) => name);
    const { db, claims } = openEnginePools(app, databaseUrl);
    this.#db = db;
    this.#claims = claims;
    this.#membership = this.#createMembership();
    this.#reads = jointReads(() => this.#membership.session() ?? db);
    this.#incidents = this.#createIncidents();
    this.#rollups = new Rollups(app.db, parts.registry);
    this.#served = this.#serve();
    this.#scheduler = createScheduler(db, this.#reads, app.log, this.#stopping.signal);
    this.#revision = new TicketsRevision(db, parts.names, () => {
      for (const queue of this.#served.all) queue.restart();
    });
  }

  #createMembership(): Membership {
    const { app, databaseUrl, names } = this.#parts;
    return new Membership({
      databaseUrl,
      names,
      instance: app.instance,
      db: this.#db,
      log: app.log,
      queues: this.queues,
      running: () => this.activity().reduce((sum, { running }) => sum + running, 0),
      onNews: (news) => this.#hear(news),
      onBack: () => this.#served.missed(),
    });
  }

  #createIncidents(): Incidents {
    const { app, names } = this.#parts;
    const unpaused = () => this.#served.all.filter((queue) => !queue.paused()).map(({ name }) => name);
    return new Incidents({
      db: this.#db,
      reads: this.#reads,
      channel: names.workers,
      dependencies: app.dependencies ?? {},
      checkEveryMs: app.config.incidentCheckMs,
      log: app.log,
      signal: this.#stopping.signal,
      queues: () => (this.#draining ? [] : unpaused()),
      onChange: () => {
        for (const queue of this.#served.all) queue.letGo();
      },
      run: async (queue, job) => this.#served.get(queue)?.probe(job),
    });
  }

  #serve(): ServedQueues {
    const { app, registry, settings, names, path, observers = [], timing } = this.#parts;
    const serving = {
      app,
      names,
      path,
      db: this.#db,
      claims: this.#claims,
      reads: this.#reads,
      membership: this.#membership,
      incidents: this.#incidents,
      registry,
      observer: observeAll([logAttempts(app.log), this.#rollups, ...observers], app.log),
      timing,
      signal: this.#stopping.signal,
    };
    return new ServedQueues(settings, serving, () => this.#draining || this.#startingOver !== undefined);
  }

  /** Joins the fleet, and begins to work. If that fails, what is open is closed. */
  async start(): Promise<void> {
    const patiently = (work: () => Promise<void>) => persist(work, this.#stopping.signal, isTransient, startPatience);
    try {
      await patiently(() => this.#revision.begin());
      await patiently(() => this.#membership.join());
      this.#loops = this.#beginLoops();
      await patiently(this.#served.follow);
    } catch (error) {
      await this.stop().catch(() => {});
      throw error;
    }
  }

  #beginLoops(): Promise<void>[] {
    const { app, databaseUrl, names, registry } = this.#parts;
    const { config, db, log } = app;
    const { signal } = this.#stopping;
    const reaper = new Reaper({
      ...config,
      db: this.#db,
      reads: this.#reads,
      names,
      log,
      membership: this.#membership,
    });
    const troubles = new TroubleLog(log);
    const every = (everyMs: number, work: () => Promise<void>): Chore => ({ everyMs, work });
    const everyQueue = (ms: number, work: (queue: ServedQueue) => Promise<void>) =>
      every(ms, () => this.#served.each(work));
    const chores = [
      every(config.heartbeatMs, () => this.#stayAlive(this.#membership.beat())),
      every(500, () => this.#stayAlive(this.#membership.hold())),
      every(config.sweepMs, () => reaper.reap()),
      every(1_000, this.#served.follow),
      every(config.pollIntervalMs, () => this.#served.poll()),
      every(5_000, async () => troubles.check(this.trouble())),
      every(1_000, () => this.#served.refreshAlarm()),
      every(1_000, () => this.#incidents.refresh()),
      every(1_000, this.#scheduler.refresh),
      everyQueue(1_000, (queue) => queue.reportProgress()),
      every(1_000, () => this.#tellWaits()),
      every(5_000, () => this.#rollups.write()),
      everyQueue(config.sweepMs * 15, (queue) => queue.findOrphans()),
    ];
    return [
      repeat(chores, log, signal),
      watchSessions(databaseUrl, app.instance, log, signal),
      keepUp(db, names, this.queues, log, signal),
      keepSensitive(this.queues, signal, { db, registry, keyring: config.keyring, log }),
    ];
  }

  /** Handles notifications on the workers' channel, from add_tickets, triggers and migrations. */
  #hear({ payload = '' }: Notification): void {
    const [what, name = '', tickets] = payload.split(' ');
    if (what === 'due' || what === 'soon') this.#served.heard(what, name, Number(tickets));
    else if (what === 'migrated') void this.#revision.check().catch(() => {});
    else if (what === 'incidents') void this.#incidents.refresh();
    else if (what === 'schedules') void this.#scheduler.refresh().catch(() => {});
    else this.#served.followSoon();
  }

  /** Writes to this worker's row which of its jobs wait for a turn, and for what, if that has changed. */
  async #tellWaits(): Promise<void> {
    const waiting = JSON.stringify(this.#served.all.flatMap((queue) => queue.waits(longWaitMs)));
    if (waiting === this.#waitsTold) return;
    await query(this.#db, sql.tell_waits, { id: this.id(), waiting });
    this.#waitsTold = waiting;
  }

  async #stayAlive(alive: Promise<boolean>): Promise<void> {
    // A worker that is stopping still has jobs to finish, and needs its heartbeat.
    if ((await alive) || this.#draining) return;
    await (this.#startingOver ??= this.#startOver().finally(() => (this.#startingOver = undefined)));
  }

  async #startOver(): Promise<void> {
    const { log } = this.#parts.app;
    log.error('the fleet has declared this worker dead, starting over');
    await Promise.all(this.#served.all.map((queue) => Promise.all([queue.halt(), queue.abort('fenced')])));
    await this.#membership.rejoin();
    this.#waitsTold = '[]';
    log.info({ worker: this.id() }, 'joined the fleet again');
  }

  /** Its row in `workers`: another one after the fleet has declared it dead by mistake. */
  id(): string {
    return this.#membership.id();
  }

  /** Why this worker does not work, or undefined if it does. */
  trouble(): string | undefined {
    if (this.#draining) return 'shutting down';
    if (!this.#membership.holdsLock()) return 'the database session that proves this worker alive is lost';
    return this.#served.all.map((queue) => queue.trouble()).find((reason) => reason !== undefined);
  }

  /** @throws if Postgres does not answer the engine */
  async ping(): Promise<void> {
    await this.#db.query('select 1');
  }

  /** The fleet's open incidents, the oldest first. */
  incidents(): OpenIncident[] {
    return this.#incidents.open();
  }

  /** What each queue runs here now. */
  activity() {
    return this.#served.all.map((queue) => queue.activity());
  }

  /**
   * Stops claiming, gives back what was not started, and lets running jobs finish for SHUTDOWN_TIMEOUT. Jobs that
   * still run then are aborted, and go back to pending without using a retry.
   */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.#draining = true;
    const clean = await this.#drain();
    await within(2_000, this.#rollups.write()).catch(() => {});
    this.#stopping.abort();
    await within(abortPatienceMs, Promise.allSettled(this.#loops));
    await this.#membership.leave(clean);
    await within(2_000, Promise.all([this.#claims.end(), this.#db.end()]));
  }

  /**
   * @returns false if jobs still run: a handler ignores its signal, or Postgres is gone. Then our row stays, and the
   * worker that reaps it retries our jobs.
   */
  async #drain(): Promise<boolean> {
    const { config, log } = this.#parts.app;
    const halted = this.#served.all.map((queue) => Promise.all([queue.halt(), queue.idle()]));
    const finished = Promise.all(halted).then(() => true);
    if (!(await within(config.shutdownTimeoutMs, finished))) {
      log.warn('aborting jobs that still run');
      for (const queue of this.#served.all) void queue.abort('shutdown');
    }
    return (await within(abortPatienceMs, finished)) ?? false;
  }
}
