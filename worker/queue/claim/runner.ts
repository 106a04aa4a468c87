import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, run, type Runner as GraphileRunner, type WorkerEvents, type WorkerPool } from 'graphile-worker';
import { z } from 'zod';
import type { Db } from '../../base/db/db.ts';
import { within } from '../../base/deadline.ts';
import type { Log } from '../../base/log.ts';
import type { Ticket } from '../run/backlog.ts';
import { createGate, type Gate } from './gate.ts';
import { withoutListening } from './graphile-pool.ts';
import type { Waking } from './waking.ts';

/**
 * Claims the tickets of one queue with graphile-worker, as many at a time as there is room for. graphile-worker shuts
 * its pool down on one failed batch, and its promise may never settle when Postgres restarts. So its events are
 * watched, and it is replaced when it stops by itself.
 */
export type Runner = ReturnType<typeof createRunner>;

export type RunnerOptions = {
  queue: string;
  /** The schema of the tickets. */
  schema: string;
  /** The most tickets that are held at once. */
  slots: number;
  db: Db;
  log: Log;
  pollIntervalMs: number;
  take: (ticket: Ticket) => Promise<void>;
  /** How many more tickets may be claimed now. */
  room: () => number;
  /** Told when it begins to claim and when it ends, of each ticket, and when there are no more. */
  waking: Pick<Waking, 'start' | 'stop' | 'found' | 'exhausted'>;
  /** The fleet knows the pools, so that a dead worker's tickets can be unlocked. */
  pools: { add(id: string): Promise<void>; drop(id: string, queue: string): Promise<void> };
};

const ticketPayload = z.object({ kind: z.string().optional(), ids: z.array(z.number()) });
/** Claims in flight while the number of due tickets is unknown. */
const mostInFlight = 4;
const startTimeoutMs = 30_000;
const stopTimeoutMs = 2_000;

type Running = {
  graphile?: GraphileRunner;
  pool?: WorkerPool;
  gate: Gate;
  /** Claims that were admitted and not answered yet. */
  inFlight: number;
  registered: Promise<void>;
  lost: PromiseWithResolvers<void>;
};

export function createRunner({
  queue,
  schema,
  slots,
  db,
  log,
  pollIntervalMs,
  take,
  room,
  waking,
  pools,
}: RunnerOptions) {
  let supervisor: Promise<void> = Promise.resolve();
  let stopped: AbortController | undefined;
  let current: Running | undefined;
  let claimedAt = 0;
  /** When the current search began; Infinity: none. It ends when a claim that began after it finds nothing. */
  let searchedAt = Infinity;

  /** Starts claiming. If graphile-worker fails, it is started again. */
  function start(): void {
    if (stopped) return;
    const { signal } = (stopped = new AbortController());
    supervisor = supervisor.then(() => supervise(signal));
  }

  async function supervise(signal: AbortSignal): Promise<void> {
    for (let wait = 100; !signal.aborted; wait = Math.min(wait * 2, 1_000)) {
      let poll: NodeJS.Timeout | undefined;
      const running: Running = {
        gate: createGate(),
        inFlight: 0,
        registered: Promise.resolve(),
        lost: Promise.withResolvers(),
      };
      try {
        running.graphile = await startedInTime(launch(running));
        current = running;
        const since = (claimedAt = Date.now());
        poll = setInterval(search, pollIntervalMs);
        // Notifications sent before this moment did not reach us.
        search();
        waking.start();
        await Promise.race([running.lost.promise, aborted(signal)]);
        if (Date.now() - since > 10_000) wait = 100;
      } catch (error) {
        log.warn({ err: error, queue }, 'could not start claiming');
      }
      clearInterval(poll);
      waking.stop();
      current = undefined;
      await discard(running);
      if (!signal.aborted) await sleep(wait, undefined, { signal }).catch(() => {});
    }
  }

  function launch(running: Running): Promise<GraphileRunner> {
    const events: WorkerEvents = new EventEmitter();
    const asked = new WeakMap<object, number>();
    events.on('pool:create', ({ workerPool }) => {
      running.pool = workerPool;
      running.registered = pools.add(workerPool.id);
      running.registered.catch(() => running.lost.resolve());
    });
    events.on('pool:fatalError', ({ error }) => {
      log.warn({ err: error, queue }, 'graphile-worker gave up, starting it again');
      running.lost.resolve();
    });
    events.on('pool:gracefulShutdown', () => {
      running.lost.resolve();
      // It waits for its slots, and they may wait at the gate. They claim nothing more, so they are let through.
      running.gate.open();
    });
    // Tickets may have been claimed, and the answer lost: they are unlocked with the pool.
    events.on('worker:getJob:error', () => running.lost.resolve());
    events.on('worker:getJob:start', ({ worker }) => void asked.set(worker, performance.now()));
    events.on('worker:getJob:empty', ({ worker }) => {
      running.inFlight--;
      claimedAt = Date.now();
      // This claim began before the search, so it could not see the new tickets: claim once more.
      if (asked.get(worker)! < searchedAt) return goOn(1);
      searchedAt = Infinity;
      waking.exhausted();
    });
    events.on('job:start', () => {
      running.inFlight--;
      claimedAt = Date.now();
      waking.found();
    });

    return run({
      pgPool: withoutListening(db),
      noHandleSignals: true,
      events,
      logger: quiet(log, queue),
      parsedCronItems: [],
      forbiddenFlags: running.gate.pass,
      taskList: {
        [queue]: async (payload, { job }) => {
          await running.registered;
          const taken = take({ ...ticketPayload.parse(payload), priority: job.priority });
          goOn();
          await taken;
          goOn();
        },
      },
      preset: {
        worker: {
          schema,
          concurrentJobs: slots,
          // A slot that found nothing returns to the gate at once.
          pollInterval: 0,
          // Without batching, graphile-worker awaits its own writes (its performance.md).
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    });
  }

  /**
   * Claims this number of due tickets. A claim in flight may return nothing although a ticket is due: another claim
   * took the one that it saw, and the new one came after its snapshot. Then, or without room for all, we claim until a
   * claim that began after this call finds nothing.
   */
  function wake(tickets: number): void {
    const overlaps = current !== undefined && current.inFlight > 0;
    if (claim(tickets) < tickets || overlaps) searchedAt = performance.now();
  }

  /** Claims due tickets when their number is unknown: a claim that finds one is followed by more. */
  function search(): void {
    searchedAt = performance.now();
    claim(1);
  }

  /** Continues a search that has not ended. */
  function goOn(most = mostInFlight): void {
    if (searchedAt < Infinity && current) claim(most - current.inFlight);
  }

  /** Claims tickets, as far as there is room. @returns how many claims it started */
  function claim(times: number): number {
    if (!current) return 0;
    const claims = Math.max(0, Math.min(times, room() - current.inFlight));
    current.inFlight += claims;
    current.gate.admit(claims);
    return claims;
  }

  // Waits a little for the tickets that it holds. Those that stay locked are unlocked, and the worker that claims them
  // next starts their jobs.
  async function discard({ graphile, pool }: Running): Promise<void> {
    if (graphile) {
      graphile.promise.catch(() => {});
      const stopping = graphile.stop().then(
        () => true,
        () => true,
      );
      if (!(await within(stopTimeoutMs, stopping)))
        log.debug({ queue }, 'graphile-worker did not stop in time, its tickets are unlocked');
    }
    if (pool)
      await pools
        .drop(pool.id, queue)
        .catch((error: unknown) => log.warn({ err: error, queue }, 'could not unlock tickets'));
  }

  return {
    start,
    /** Claims nothing more. Resolves when its tickets are done, or after two seconds. */
    async stop(): Promise<void> {
      stopped?.abort();
      stopped = undefined;
      await supervisor;
    },
    wake,
    search,
    /** Searches, unless it does or will as soon as there is room. */
    poll(): void {
      if (searchedAt === Infinity) search();
    },
    goOn: () => goOn(),
    /** Starts graphile-worker again. */
    restart: () => current?.lost.resolve(),
    /** Whether it should claim, and when Postgres last answered a claim. */
    state: () => ({ wanted: stopped !== undefined, claiming: current !== undefined, claimed_at: claimedAt }),
  };
}

/** A runner that does not start in time is given up, and stopped if it starts after all. */
async function startedInTime(starting: Promise<GraphileRunner>): Promise<GraphileRunner> {
  const runner = await within(startTimeoutMs, starting);
  if (runner) return runner;
  void starting.then((late) => late.stop()).catch(() => {});
  throw new Error(`graphile-worker did not start within ${startTimeoutMs / 1_000} s`);
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** graphile-worker's own log lines, at debug level. */
function quiet(log: Log, queue: string): Logger {
  return new Logger(() => (level, message) => {
    if (level === 'error' || level === 'warning') log.debug({ queue, detail: message }, 'graphile-worker says');
  });
}
