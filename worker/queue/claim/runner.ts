import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, run, type Runner as GraphileRunner, type WorkerEvents, type WorkerPool } from 'graphile-worker';
import { z } from 'zod';
import type { Db, Tx } from '../../base/db/db.ts';
import { within } from '../../base/deadline.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Ticket } from '../run/backlog.ts';
import { createGate, type Gate } from './gate.ts';

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

export function createRunner({ queue, schema, slots, db, log, pollIntervalMs, take, room, pools }: RunnerOptions) {
  let supervisor: Promise<void> = Promise.resolve();
  let stopped: AbortController | undefined;
  let current: Running | undefined;
  let claimedAt = 0;
  /** When the current search began. A search ends with a claim that began later and found nothing. */
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
        // No notification of the meantime has reached us.
        search();
        await Promise.race([running.lost.promise, aborted(signal)]);
        if (Date.now() - since > 10_000) wait = 100;
      } catch (error) {
        log.warn({ err: error, queue }, 'could not start claiming');
      }
      clearInterval(poll);
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
      // It waits for its slots, which do not claim any more.
      running.gate.open();
    });
    // Tickets may have been claimed, and the answer lost: they are unlocked with the pool.
    events.on('worker:getJob:error', () => running.lost.resolve());
    events.on('worker:getJob:start', ({ worker }) => void asked.set(worker, performance.now()));
    events.on('worker:getJob:empty', ({ worker }) => {
      running.inFlight--;
      claimedAt = Date.now();
      if (asked.get(worker)! >= searchedAt) searchedAt = Infinity;
      // The ticket that it was to find came after the claim began.
      else goOn(1);
    });
    events.on('job:start', () => {
      running.inFlight--;
      claimedAt = Date.now();
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
   * Claims this number of due tickets. An earlier claim that is still in flight may return nothing: a later claim took
   * its ticket, and the newer ticket is not in its snapshot. So then we keep claiming, until a claim that began after
   * this wake finds nothing.
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

/**
 * The pool for graphile-worker, whose connections cannot LISTEN. graphile-worker would wake every runner of every
 * process for every ticket. Ours are woken for the tickets of their queue only, by the membership's session.
 * graphile-worker asks for its listening connection, and for no other, with a callback.
 */
function withoutListening(db: Db): Db {
  const dummy = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) }) as unknown as Tx;
  const connect = (listener?: (error: undefined, client: Tx, release: () => void) => void) =>
    listener ? listener(undefined, dummy, () => {}) : withoutRetryCode(db.connect().then(withoutRetries));
  return new Proxy(db, {
    get(pool, name) {
      if (name === 'connect') return connect;
      const value: unknown = Reflect.get(pool, name, pool);
      // Called on the proxy, the pool's own `query` would get the dummy client from our `connect`, and wait for ever.
      return typeof value === 'function' ? (value.bind(pool) as unknown) : value;
    },
  });
}

function withoutRetries(client: Tx): Tx {
  const query = (...given: Parameters<Tx['query']>) =>
    withoutRetryCode(client.query(...given) as unknown as Promise<unknown>);
  return new Proxy(client, {
    get: (target, name) => (name === 'query' ? query : (Reflect.get(target, name, target) as unknown)),
  });
}

/**
 * Strips the code from these errors. With it, graphile-worker retries a hundred times and sleeps 3 s to 2 min in
 * between, so nothing is claimed for so long after Postgres is back. Without it, graphile-worker gives up, and its
 * runner is started again within a second. https://github.com/graphile/worker/blob/main/src/lib.ts (RETRYABLE_ERRORS)
 */
async function withoutRetryCode<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!['57P03', 'EHOSTUNREACH', 'ETIMEDOUT'].includes(codeOf(error) ?? '')) throw error;
    throw new Error(messageOf(error), { cause: error });
  }
}
