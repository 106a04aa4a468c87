import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../app.ts';
import { isTransient, type Notification } from '../base/db/db.ts';
import { readNames } from '../base/db/names.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { watchSessions } from '../base/db/watch.ts';
import { within } from '../base/deadline.ts';
import { createAlarm } from './claim/alarm.ts';
import { createUncommitted } from './claim/uncommitted.ts';
import type { Timing } from './claim/waking.ts';
import { longWaitMs } from './run/context.ts';
import { openEnginePools } from './fleet/connections.ts';
import { Incidents } from './run/incidents.ts';
import { logAttempts, observeAll, type Observer } from './run/observer.ts';
import { joinFleet } from './fleet/liveness.ts';
import { paced } from '../base/paced.ts';
import { serveQueue, type ServedQueue } from './queue.ts';
import type { Registry } from './registry.ts';
import { createScheduler } from './schedule/scheduler.ts';
import { checkQueuesOf, servedQueues, type QueueRow } from './served.ts';
import { keepUp } from './fleet/upkeep.ts';

/**
 * The engine of one process: a runner and an executor for each queue that it serves, its membership of the fleet, and
 * the loops that follow what people change with SQL.
 */
export type Worker = Awaited<ReturnType<typeof startWorker>>;

const sql = loadStatements(import.meta.dirname, 'worker.sql', [
  'read_queues',
  'apply_settings',
  'tell_waits',
  'search_path',
]);
const abortPatienceMs = 6_000;

/**
 * @param observers are called for each attempt, after the log
 * @param timing for tests of what wakes a worker
 * @throws UsageError if QUEUES or a kind names a queue that the database does not have
 */
export async function startWorker(
  app: App,
  databaseUrl: string,
  registry: Registry,
  { observers = [], timing }: { observers?: Observer[] | undefined; timing?: Timing | undefined } = {},
) {
  const { config, log } = app;
  const stopping = new AbortController();
  let draining = false;
  let logged: string | undefined;
  let foundBefore: string | undefined;
  let waitsTold = '[]';
  let startingOver: Promise<void> | undefined;
  const rows = await query<QueueRow>(app.db, sql.read_queues);
  checkQueuesOf(registry, rows);
  const settings = servedQueues(rows, config.queues);
  const names = await readNames(app.db);
  const served = settings.map(({ name }) => name);
  await query(app.db, sql.apply_settings, {
    queues: served,
    max_retries: config.maxRetries ?? null,
    backoff_ms: config.backoffMs ?? null,
  });

  const { db, claims } = openEnginePools(app, databaseUrl);
  const membership = await joinFleet({
    databaseUrl,
    names,
    instance: app.instance,
    db,
    log,
    queues: served,
    heartbeatMs: config.heartbeatMs,
    deadAfterMs: config.deadAfterMs,
    onNews: hear,
    onBack: () => {
      for (const queue of queues) queue.missed();
      void watch().catch(() => {});
    },
  });
  const incidents = new Incidents({
    db,
    channel: names.workers,
    dependencies: app.dependencies ?? {},
    checkEveryMs: config.incidentCheckMs,
    log,
    signal: stopping.signal,
    queues: () => queues.filter((queue) => !draining && !queue.paused()).map(({ name }) => name),
    onChange: () => queues.forEach((queue) => queue.letGo()),
    run: async (name, job) => queues.find((queue) => queue.name === name)?.probe(job),
  });
  const [{ path }] = (await query<{ path: string }>(app.db, sql.search_path)) as [{ path: string }];
  const observer = observeAll([logAttempts(log), ...observers], log);
  const alarm = createAlarm(db, served, wake);
  const refreshAlarm = () => void alarm.refresh().catch(() => {});
  const uncommitted = createUncommitted(db, soon, stopping.signal);
  const serving = {
    app,
    names,
    path,
    db,
    claims,
    membership,
    incidents,
    registry,
    observer,
    uncommitted,
    refreshAlarm,
    timing,
    signal: stopping.signal,
  };
  const queues: ServedQueue[] = settings.map((row) => serveQueue(row, serving));
  const scheduler = createScheduler(db, log, stopping.signal);

  /** Handles notifications on the workers' channel, from add_tickets, triggers and migrations. */
  function hear({ payload = '' }: Notification): void {
    const [what, name, tickets] = payload.split(' ');
    if (what === 'due' || what === 'soon') queues.find((queue) => queue.name === name)?.heard();
    // A newer graphile-worker has changed the tables of tickets.
    if (what === 'migrated') for (const queue of queues) queue.restart();
    else if (what === 'due') wake(name!, Number(tickets));
    else if (what === 'soon') soon(name!);
    else if (what === 'incidents') void incidents.refresh();
    else if (what === 'schedules') void scheduler.refresh().catch(() => {});
    else void watch().catch(() => {});
  }

  /** Jobs are due soon, or already: if their transaction took a while to commit. */
  function soon(name: string): void {
    wake(name);
    refreshAlarm();
  }

  function wake(name: string, tickets?: number): void {
    queues.find((queue) => queue.name === name)?.wake(tickets);
  }

  /** Follows what people change with SQL. */
  const watch = paced(0, async () => {
    const now = new Map((await query<QueueRow>(db, sql.read_queues)).map((row) => [row.name, row]));
    for (const queue of queues) {
      if (draining || startingOver) return;
      await queue.follow(now.get(queue.name));
    }
  });

  /** Logs what /health reports, once it has lasted for a while. */
  async function logTrouble(): Promise<void> {
    await forEach((queue) => queue.findNeglect()).catch(() => {});
    const found = trouble();
    if (found && found === foundBefore && found !== logged)
      log.warn({ reason: (logged = found) }, 'this worker is unhealthy');
    else if (!found && logged) log.info({ reason: logged }, 'this worker is healthy again');
    if (!found) logged = undefined;
    foundBefore = found;
  }

  function trouble(): string | undefined {
    if (draining) return 'shutting down';
    if (!membership.holdsLock()) return 'the database session that proves this worker alive is lost';
    return queues.map((queue) => queue.trouble()).find((reason) => reason !== undefined);
  }

  /** Writes to this worker's row which of its jobs wait for a turn, and for what, if that has changed. */
  async function tellWaits(): Promise<void> {
    const waiting = JSON.stringify(queues.flatMap((queue) => queue.waits(longWaitMs)));
    if (waiting === waitsTold) return;
    await query(db, sql.tell_waits, { id: membership.id(), waiting });
    waitsTold = waiting;
  }

  async function forEach(work: (queue: ServedQueue) => Promise<void>): Promise<void> {
    for (const queue of queues) await work(queue);
  }

  async function stayAlive(alive: () => Promise<boolean>): Promise<void> {
    // A worker that is stopping still has jobs to finish, and needs its heartbeat.
    if ((await alive()) || draining) return;
    await (startingOver ??= startOver().finally(() => (startingOver = undefined)));
  }

  async function startOver(): Promise<void> {
    log.error('the fleet has declared this worker dead, starting over');
    await Promise.all(queues.map((queue) => Promise.all([queue.halt(), queue.abort('fenced')])));
    await membership.rejoin();
    waitsTold = '[]';
    log.info({ worker: membership.id() }, 'joined the fleet again');
  }

  await membership.join().catch(async (error: unknown) => {
    await Promise.allSettled([membership.leave(true), claims.end(), db.end()]);
    throw error;
  });
  const loops = [
    every(config.heartbeatMs, () => stayAlive(membership.beat)),
    every(500, () => stayAlive(membership.hold)),
    every(2_000, membership.ping),
    watchSessions(databaseUrl, app.instance, log, stopping.signal),
    every(config.sweepMs, membership.reap),
    every(1_000, watch),
    every(5_000, logTrouble),
    every(1_000, alarm.refresh),
    every(1_000, () => incidents.refresh()),
    every(1_000, scheduler.refresh),
    every(1_000, () => forEach((queue) => queue.reportProgress())),
    every(1_000, tellWaits),
    every(config.sweepMs * 15, () => forEach((queue) => queue.findOrphans())),
    keepUp(app.db, names, served, log, stopping.signal),
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
    const halted = queues.map((queue) => Promise.all([queue.halt(), queue.idle()]));
    const finished = Promise.all(halted).then(() => true);
    if (!(await within(config.shutdownTimeoutMs, finished))) {
      log.warn('aborting jobs that still run');
      for (const queue of queues) void queue.abort('shutdown');
    }
    // If a handler ignores its signal, or Postgres is gone, our row stays, and the worker that reaps it retries our
    // jobs.
    const clean = (await within(abortPatienceMs, finished)) ?? false;
    stopping.abort();
    alarm.stop();
    await within(abortPatienceMs, Promise.allSettled(loops));
    await membership.leave(clean);
    await within(2_000, Promise.all([claims.end(), db.end()]));
  }

  await watch().catch(async (error: unknown) => {
    await stop().catch(() => {});
    throw error;
  });
  log.info({ worker: membership.id(), queues: served, kinds: [...registry.keys()] }, 'working');

  return {
    id: membership.id,
    queues: served,

    /** Why this worker does not work, or undefined if it does. */
    trouble,

    /** @throws if Postgres does not answer the engine */
    ping: async () => void (await db.query('select 1')),

    /** The fleet's open incidents, the oldest first. */
    incidents: () => incidents.open(),

    /** What each queue runs here now. */
    activity: () => queues.map((queue) => queue.activity()),

    /**
     * Stops claiming, gives back what was not started, and lets running jobs finish for SHUTDOWN_TIMEOUT. Jobs that
     * still run then are aborted, and go back to pending without using a retry.
     */
    stop: () => (stopped ??= stop()),
  };
}
