import type { App } from '../app.ts';
import { transaction, type Db } from '../base/db/db.ts';
import type { Names } from '../base/db/names.ts';
import { bind, loadStatements, query } from '../base/db/sql.ts';
import { Executor } from './run/executor.ts';
import type { Incidents, ProbeJob } from './run/incidents.ts';
import { Ledger } from './run/ledger.ts';
import { failLost } from './run/lost.ts';
import type { Observer } from './run/observer.ts';
import type { Membership } from './fleet/liveness.ts';
import { Stopped } from './run/outcome.ts';
import { paced } from '../base/paced.ts';
import { createLimiter } from './run/rate-limit.ts';
import { mostAside } from './run/slots.ts';
import type { Registry } from './registry.ts';
import { createRunner, type Runner } from './claim/runner.ts';
import type { Uncommitted } from './claim/uncommitted.ts';
import { createWaking, type Timing } from './claim/waking.ts';
import { concurrencyOf, type QueueRow } from './served.ts';

/** One queue as this process serves it: a runner claims its tickets, an executor runs their jobs. */
export type ServedQueue = ReturnType<typeof serveQueue>;

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
  observer: Observer;
  uncommitted: Uncommitted;
  /** Reads which jobs will be due soon. */
  refreshAlarm: () => void;
  timing?: Timing | undefined;
  signal: AbortSignal;
};

/** The smallest smallint. */
const mostUrgent = -32_768;

const sql = loadStatements(import.meta.dirname, 'queue.sql', ['more_urgent', 'unclaimed']);

const neglectMs = 15_000;

/** @param settings its row at the start */
export function serveQueue(settings: QueueRow, serving: Serving) {
  const { app, names, path, db, claims, membership, incidents, registry, observer, signal } = serving;
  const { name } = settings;
  const { config, log } = app;
  const concurrency = concurrencyOf(name, config);
  const { schema } = names;
  const ledger = new Ledger({ db, claims, schema, path, queue: name, worker: membership.id, signal });
  const executor = new Executor({
    queue: name,
    concurrency,
    app,
    ledger,
    incidents,
    limiter: createLimiter(db, name, () => settings.rate_limit, log, signal),
    registry,
    observer,
    log: log.child({ queue: name }),
    timeoutMs: () => settings.timeout_ms,
    ticketSize: () => settings.batch_size,
    onRoom: () => runner.goOn(),
  });
  const waking = createWaking({
    queue: name,
    db,
    log,
    worker: membership.id,
    poll() {
      runner.poll();
      void makeRoom().catch(() => {});
    },
    catchUp() {
      runner.search();
      serving.refreshAlarm();
    },
    uncommitted: serving.uncommitted,
    timing: serving.timing,
  });
  const runner: Runner = createRunner({
    queue: name,
    schema: names.tickets,
    slots: concurrency + mostAside,
    db: claims,
    log,
    pollIntervalMs: config.pollIntervalMs,
    take(ticket) {
      tookAt = Date.now();
      return executor.take(ticket);
    },
    room: () => executor.room(),
    waking,
    pools: membership.pools,
  });

  const unclaimed = bind(sql.unclaimed, { tickets: names.tickets });
  let tookAt = Date.now();
  /** Jobs are due that this worker has room for and does not claim. */
  let neglected = false;

  const moreUrgent = bind(sql.more_urgent, { tickets: names.tickets });

  /** Makes room for a more urgent ticket, if one waits that cannot be claimed. */
  const makeRoom = paced(20, async () => {
    for (;;) {
      const priority = executor.crowdedBy();
      if (priority === undefined) return;
      const [urgent] = await query<{ found: boolean }>(db, moreUrgent, { queue: name, priority });
      if (!urgent?.found) return;
      await executor.makeRoom();
    }
  });

  return {
    name,

    /** @param tickets how many are known to be due */
    wake(tickets?: number): void {
      if (tickets) runner.wake(tickets);
      else runner.search();
      void makeRoom().catch(() => {});
    },

    heard: waking.heard,

    /** Wakes it when notifications may have been missed. */
    missed(): void {
      if (runner.state().claiming) waking.start();
    },

    /** Follows what people change with SQL: the queue's row, and running jobs that were cancelled or set back. */
    async follow(row: QueueRow = settings): Promise<void> {
      settings = row;
      if (settings.paused) {
        void runner.stop();
        void executor.pause();
      } else {
        executor.resume();
        runner.start();
      }
      const attempts = executor.running.attempts();
      if (attempts.length > 0) void executor.abort(new Stopped('taken'), await ledger.taken(attempts));
    },

    /** Whether it is served now. */
    paused: () => settings.paused,

    /** Gives back the jobs of the backlog that an incident holds. */
    letGo: () => executor.letGo(),

    /** Runs this job next. Resolves when it has ended, or has turned out not to be ours. */
    probe: ({ id, kind }: ProbeJob) => executor.take({ kind, ids: [id], priority: mostUrgent, probe: true }),

    /**
     * Retries jobs that this worker runs according to their rows, but does not: the answer to a statement was lost, or
     * the statement never arrived.
     */
    async findOrphans(): Promise<void> {
      const orphaned = (await ledger.recorded()).filter((attempt) => !executor.mayRun(attempt));
      await transaction(db, (tx) => failLost(tx, name, membership.id(), orphaned));
      if (orphaned.length > 0)
        log.warn({ queue: name, jobs: orphaned.length }, 'retried jobs that this worker lost track of');
    },

    /**
     * Must be called every few seconds: finds out whether jobs are due that no worker claims, though this one could.
     */
    async findNeglect(): Promise<void> {
      const { wanted } = runner.state();
      const idle = wanted && executor.room() > 0 && executor.waiting() === 0 && Date.now() - tookAt > neglectMs;
      if (!idle) neglected = false;
      else {
        const values = { queue: name, for_s: neglectMs / 1_000 };
        neglected =
          (await query<{ found: boolean }>(db, unclaimed, values))[0]!.found && Date.now() - tookAt > neglectMs;
      }
    },

    waits: (ms: number) => executor.running.waits(ms),

    async reportProgress(): Promise<void> {
      const reports = executor.running.takeProgress();
      if (reports.length > 0) await ledger.progress(reports);
    },

    /** Starts graphile-worker again, for example after a newer version has changed its tables. */
    restart: runner.restart,

    /** Claims and starts nothing more. Resolves when the claimed tickets are given back. */
    halt: () => Promise.all([executor.pause(), runner.stop()]),

    /** Resolves when nothing runs. */
    idle: () => executor.idle(),

    abort: (because: Stopped['because']) => executor.abort(new Stopped(because)),

    /** Why it is not served, or undefined when it is. */
    trouble(): string | undefined {
      const { wanted, claiming, claimed_at } = runner.state();
      if (wanted && !claiming) return `queue ${name} is not being claimed`;
      const patienceMs = config.pollIntervalMs * 2 + 10_000;
      if (wanted && executor.room() > 0 && Date.now() - claimed_at > patienceMs)
        return `queue ${name} has not been claimed for more than ${patienceMs / 1_000} s`;
      if (wanted && neglected)
        return `jobs of queue ${name} have been due for more than ${neglectMs / 1_000} s, and nobody claims them`;
      return undefined;
    },

    /** What runs here now. */
    activity: () => ({
      queue: name,
      running: executor.running.attempts().length,
      concurrency,
      paused: settings.paused,
    }),
  };
}
