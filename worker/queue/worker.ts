import { setTimeout as sleep } from 'node:timers/promises';
import { appConnections, type App } from '../app.ts';
import { createPool, isTransient, type Notification } from '../base/db.ts';
import { loadStatements, query } from '../base/sql.ts';
import { createAlarm } from './alarm.ts';
import { createExecutor, type Executor } from './executor.ts';
import { createLedger, failLost, type Ledger } from './ledger.ts';
import { joinFleet } from './liveness.ts';
import { Stopped } from './outcome.ts';
import { paced } from './paced.ts';
import { createLimiter } from './rate-limit.ts';
import type { Registry } from './registry.ts';
import { createRunner, type Runner } from './runner.ts';
import { concurrencyOf, servedQueues, type QueueRow } from './served.ts';
import { keepUp } from './upkeep.ts';

/**
 * The engine of one process: a runner and an executor for each queue it serves, its membership of the fleet, and the loop that
 * watches what people change by SQL.
 */
export type Worker = Awaited<ReturnType<typeof startWorker>>;

type ServedQueue = {
  name: string;
  settings: QueueRow;
  ledger: Ledger;
  executor: Executor;
  runner: Runner;
  concurrency: number;
  /** Makes room for a more urgent ticket, if one waits that cannot be claimed. */
  makeRoom: () => Promise<void>;
};

const sql = loadStatements(import.meta.dirname, 'worker.sql');
const abortPatienceMs = 6_000;
/** For tickets and starts. */
const claimConnections = 4;
/** For what ends attempts, and for the watch over the fleet. */
const ledgerConnections = 3;
/** The connections that a process opens at most: handlers and upkeep have the app's, the membership has a session of its own. */
export const processConnections = appConnections + claimConnections + ledgerConnections + 1;

/**
 * What the engine's connections set. Its statements find a few rows of large tables by their keys: they always go by index and one row
 * at a time, whatever the statistics of a fresh table say. Up to Postgres 17 forbidden plans look so costly that they would be compiled
 * first, or planned anew each time; both take longer than to run them. Rows that somebody holds locked are asked for again and again, so that
 * they keep no connection from the others.
 */
const engineSettings = [
  'set enable_seqscan = off',
  'set enable_bitmapscan = off',
  'set enable_hashjoin = off',
  'set enable_mergejoin = off',
  'set jit = off',
  'set plan_cache_mode = force_generic_plan',
  'set lock_timeout = 100',
].join('; ');
/** A claim or a start that is lost when Postgres crashes is made again, so it need not wait for the disk. What ends an attempt does. */
const claimSettings = `${engineSettings}; set synchronous_commit = off`;
/** @throws UsageError when QUEUES names a queue that the database does not have */
export async function startWorker(app: App, databaseUrl: string, registry: Registry) {
  const { config, log } = app;
  const stopping = new AbortController();
  let draining = false;
  let startingOver: Promise<void> | undefined;
  const rows = await query<QueueRow>(app.db, sql['read_queues']!);
  const served = servedQueues(rows, config.queues);
  const names = served.map(({ name }) => name);
  await query(app.db, sql['apply_settings']!, {
    queues: names,
    max_retries: config.maxRetries ?? null,
    backoff_ms: config.backoffMs ?? null,
  });

  const db = createPool(databaseUrl, { max: ledgerConnections, log, setUp: engineSettings, queryTimeoutMs: 30_000 });
  const claims = createPool(databaseUrl, { max: claimConnections, log, setUp: claimSettings, queryTimeoutMs: 30_000 });
  const membership = await joinFleet({
    databaseUrl,
    db,
    log,
    queues: names,
    heartbeatMs: config.heartbeatMs,
    deadAfterMs: config.deadAfterMs,
    onNews: hear,
  });
  const queues = served.map((row) => serve(row));
  const alarm = createAlarm(db, names, wake);

  function serve(settings: QueueRow): ServedQueue {
    const { name } = settings;
    const concurrency = concurrencyOf(name, config);
    const ledger = createLedger({ db, claims }, name, membership.id, stopping.signal);
    const executor: Executor = createExecutor({
      queue: name,
      concurrency,
      app,
      ledger,
      limiter: createLimiter(db, name, () => queue.settings.rate_limit, log, stopping.signal),
      registry,
      log: log.child({ queue: name }),
      timeoutMs: () => queue.settings.timeout_ms,
    });
    const runner: Runner = createRunner({
      queue: name,
      slots: concurrency,
      db: claims,
      log,
      pollIntervalMs: config.pollIntervalMs,
      take: executor.take,
      pools: membership.pools,
    });
    const makeRoom = paced(20, async () => {
      for (;;) {
        const priority = executor.crowdedBy();
        if (priority === undefined) return;
        const [urgent] = await query<{ found: boolean }>(db, sql['more_urgent']!, { queue: name, priority });
        if (!urgent?.found) return;
        await executor.makeRoom();
      }
    });
    const queue: ServedQueue = { name, settings, ledger, executor, runner, concurrency, makeRoom };
    return queue;
  }

  /** What add_tickets and triggers say on the channel `rowmill`; and that a newer graphile-worker has changed its tables. */
  function hear({ channel, payload = '' }: Notification): void {
    const [what, queue, tickets] = payload.split(' ');
    if (channel === 'worker:migrate') for (const { runner } of queues) runner.restart();
    else if (what === 'due') wake(queue!, Number(tickets));
    else if (what === 'soon') {
      // It may be due already when its transaction took a while to commit.
      wake(queue!);
      void alarm.look().catch(() => {});
    } else void watch().catch(() => {});
  }

  /** @param tickets how many are known to be due */
  function wake(name: string, tickets?: number): void {
    const queue = queues.find((one) => one.name === name);
    if (tickets) queue?.runner.wake(tickets);
    else queue?.runner.search();
    void queue?.makeRoom().catch(() => {});
  }

  // What people change by plain SQL: pauses, limits, and running jobs that were cancelled or set back.
  const watch = paced(0, async () => {
    const now = new Map((await query<QueueRow>(db, sql['read_queues']!)).map((row) => [row.name, row]));
    for (const queue of queues) {
      queue.settings = now.get(queue.name) ?? queue.settings;
      if (draining || startingOver) return;
      if (queue.settings.paused) {
        void queue.runner.stop();
        void queue.executor.pause();
      } else {
        queue.executor.resume();
        queue.runner.start();
      }
      const attempts = queue.executor.attempts();
      if (attempts.length > 0) void queue.executor.abort(new Stopped('taken'), await queue.ledger.taken(attempts));
    }
  });

  /** Rows that say this worker runs them while it does not: the answer to a statement was lost, or never took. */
  async function findStrays(): Promise<void> {
    for (const { name, ledger, executor } of queues) {
      const strays = (await ledger.strays()).filter((attempt) => !executor.mayRun(attempt));
      await failLost(db, name, membership.id(), strays);
      if (strays.length > 0)
        log.warn({ queue: name, jobs: strays.length }, 'retried jobs that this worker lost track of');
    }
  }

  async function reportProgress(): Promise<void> {
    for (const { executor, ledger } of queues) {
      const reports = executor.takeProgress();
      if (reports.length > 0) await ledger.progress(reports);
    }
  }

  async function stayAlive(alive: () => Promise<boolean>): Promise<void> {
    // A worker that is stopping still has jobs to finish, and so a heartbeat.
    if ((await alive()) || draining) return;
    await (startingOver ??= startOver().finally(() => (startingOver = undefined)));
  }

  async function startOver(): Promise<void> {
    log.error('the fleet has declared this worker dead, starting over');
    await Promise.all(
      queues.map(({ runner, executor }) =>
        Promise.all([executor.pause(), runner.stop(), executor.abort(new Stopped('fenced'))]),
      ),
    );
    await membership.rejoin();
    log.info({ worker: membership.id() }, 'joined the fleet again');
  }

  await membership.join();
  const loops = [
    every(config.heartbeatMs, () => stayAlive(membership.beat)),
    every(500, () => stayAlive(membership.hold)),
    every(config.sweepMs, membership.bury),
    every(1_000, watch),
    every(1_000, alarm.look),
    every(1_000, reportProgress),
    every(config.sweepMs * 15, findStrays),
    keepUp(app.db, names, log, stopping.signal),
  ];

  async function every(ms: number, work: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await work().catch((error: unknown) =>
        log[isTransient(error) ? 'debug' : 'error']({ err: error }, 'housekeeping failed, will try again'),
      );
      await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {});
    }
  }

  let stopped: Promise<void> | undefined;
  async function stop(): Promise<void> {
    draining = true;
    const finished = Promise.all(
      queues.map(({ executor, runner }) => Promise.all([executor.pause(), runner.stop(), executor.idle()])),
    );
    if (!(await within(finished, config.shutdownTimeoutMs))) {
      log.warn('aborting jobs that still run');
      for (const { executor } of queues) void executor.abort(new Stopped('shutdown'));
    }
    // A handler deaf to its signal, or Postgres gone: then our row stays, and whoever buries it retries what we ran.
    const clean = await within(finished, abortPatienceMs);
    stopping.abort();
    alarm.stop();
    await within(Promise.allSettled(loops), abortPatienceMs);
    await membership.leave(clean);
    await within(Promise.all([claims.end(), db.end()]), 2_000);
  }

  await watch();
  log.info({ worker: membership.id(), queues: names, kinds: [...registry.keys()] }, 'working');

  return {
    id: membership.id,
    queues: names,

    /** Why this worker does not work, or undefined when it does. */
    trouble(): string | undefined {
      if (draining) return 'shutting down';
      if (!membership.holdsLock()) return 'the session that shows this worker alive is lost';
      const patience = config.pollIntervalMs * 2 + 10_000;
      for (const { name, runner, executor } of queues) {
        const { wanted, claiming, claimed_at } = runner.state();
        if (wanted && !claiming) return `queue ${name} is not being claimed`;
        if (wanted && !executor.isFull() && Date.now() - claimed_at > patience)
          return `queue ${name} has not been claimed for ${Math.round((Date.now() - claimed_at) / 1_000)} s`;
      }
      return undefined;
    },

    /** What each queue runs here, now. */
    activity: () =>
      queues.map(({ name, executor, settings, concurrency }) => ({
        queue: name,
        running: executor.attempts().length,
        concurrency,
        paused: settings.paused,
      })),

    /**
     * Stops claiming, gives back what was not started, and lets running jobs finish for SHUTDOWN_TIMEOUT; what still runs then is
     * aborted and goes back to pending with no retry used.
     */
    stop: () => (stopped ??= stop()),
  };
}

/** Whether `work` ended in time. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  const timer = new AbortController();
  const late = sleep(ms, false, { signal: timer.signal }).catch(() => false);
  return Promise.race([work.then(() => true), late]).finally(() => timer.abort());
}
