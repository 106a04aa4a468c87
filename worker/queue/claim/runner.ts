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
 * Claims one queue's tickets with graphile-worker, and keeps doing so: as many at a time as there is room for. graphile-worker shuts its
 * pool down on one failed batch, and its promise may never settle when Postgres restarts; so it is watched by its events, and replaced
 * when it stops by itself.
 */
export type Runner = ReturnType<typeof createRunner>;

export type RunnerOptions = {
  queue: string;
  /** Where the tickets are. */
  schema: string;
  /** Tickets held at once. */
  slots: number;
  db: Db;
  log: Log;
  pollIntervalMs: number;
  take: (ticket: Ticket) => Promise<void>;
  /** How many more tickets are to be claimed now. */
  room: () => number;
  /** Pools are known to the fleet, so that a dead worker's tickets can be unlocked. */
  pools: { add(id: string): Promise<void>; drop(id: string, queue: string): Promise<void> };
};

const ticketPayload = z.object({ kind: z.string().optional(), ids: z.array(z.number()) });
/** Looks in flight while nobody knows how many tickets there are. */
const looksAtOnce = 4;
const startTimeoutMs = 30_000;
const stopTimeoutMs = 2_000;

type Running = {
  graphile?: GraphileRunner;
  pool?: WorkerPool;
  gate: Gate;
  /** Looks for a ticket that were let through and are not answered. */
  asking: number;
  registered: Promise<void>;
  lost: PromiseWithResolvers<void>;
};

export function createRunner({ queue, schema, slots, db, log, pollIntervalMs, take, room, pools }: RunnerOptions) {
  let supervisor: Promise<void> = Promise.resolve();
  let stopped: AbortController | undefined;
  let current: Running | undefined;
  let claimedAt = 0;
  /** When a search began that has not come to its end: a look that found nothing. */
  let searchedAt = Infinity;

  /** Starts claiming; when the engine below fails, starts it again. */
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
        asking: 0,
        registered: Promise.resolve(),
        lost: Promise.withResolvers(),
      };
      try {
        running.graphile = await startedInTime(launch(running));
        current = running;
        const since = (claimedAt = Date.now());
        poll = setInterval(search, pollIntervalMs);
        // What came meanwhile woke nobody.
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
      // It waits for its slots, and has none of them look any more.
      running.gate.open();
    });
    // Its tickets may have been claimed, and the answer lost: they are unlocked with the pool.
    events.on('worker:getJob:error', () => running.lost.resolve());
    events.on('worker:getJob:start', ({ worker }) => void asked.set(worker, performance.now()));
    events.on('worker:getJob:empty', ({ worker }) => {
      running.asking--;
      claimedAt = Date.now();
      if (asked.get(worker)! >= searchedAt) searchedAt = Infinity;
      // What it was to find came after it had asked.
      else goOn(1);
    });
    events.on('job:start', () => {
      running.asking--;
      claimedAt = Date.now();
    });

    return run({
      pgPool: deaf(db),
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
          // A slot that found nothing goes to the gate.
          pollInterval: 0,
          // Batching is what makes graphile-worker await its own writes (reference: its performance.md).
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    });
  }

  /**
   * Looks for so many tickets that are due. A look that was in flight before may find nothing though it was for one: when a later look has
   * just locked that, and what the later one was for it cannot see yet. So then the search goes on until a look of now finds nothing.
   */
  function wake(tickets: number): void {
    const overlaps = current !== undefined && current.asking > 0;
    if (look(tickets) < tickets || overlaps) searchedAt = performance.now();
  }

  /** Looks for due tickets when nobody knows how many there are: who finds one has others look for more. */
  function search(): void {
    searchedAt = performance.now();
    look(1);
  }

  /** Goes on with a search that has not come to its end. */
  function goOn(looks = looksAtOnce): void {
    if (searchedAt < Infinity && current) look(looks - current.asking);
  }

  /** Looks for a ticket so many times, if there is room for what may be found. @returns how many times */
  function look(times: number): number {
    if (!current) return 0;
    const looks = Math.max(0, Math.min(times, room() - current.asking));
    current.asking += looks;
    current.gate.admit(looks);
    return looks;
  }

  // Waits a little for tickets in hand; what is left locked is unlocked, and its jobs are started by whoever claims it next.
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
    /** Claims nothing more. Resolves when tickets in hand are done, or after two seconds. */
    async stop(): Promise<void> {
      stopped?.abort();
      stopped = undefined;
      await supervisor;
    },
    wake,
    search,
    goOn: () => goOn(),
    /** Starts the engine below again. */
    restart: () => current?.lost.resolve(),
    /** Whether it is meant to claim, and when it last asked Postgres for a ticket and was answered. */
    state: () => ({ wanted: stopped !== undefined, claiming: current !== undefined, claimed_at: claimedAt }),
  };
}

/** A runner that does not come up in time is given up, and stopped when it does after all. */
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

/** graphile-worker's own lines, where somebody who looks for them finds them. */
function quiet(log: Log, queue: string): Logger {
  return new Logger(() => (level, message) => {
    if (level === 'error' || level === 'warning') log.debug({ queue, detail: message }, 'graphile-worker says');
  });
}

/**
 * The pool as graphile-worker is given it. Its callers cannot LISTEN: graphile-worker wakes every runner of every process for every ticket;
 * ours are woken for tickets of their queue, by what the membership's session hears. graphile-worker asks for its listening connection,
 * and for that alone, with a callback.
 */
function deaf(db: Db): Db {
  const ear = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) }) as unknown as Tx;
  const connect = (listener?: (error: undefined, client: Tx, release: () => void) => void) =>
    listener ? listener(undefined, ear, () => {}) : impatiently(db.connect().then(impatient));
  return new Proxy(db, {
    get(pool, name) {
      if (name === 'connect') return connect;
      const value: unknown = Reflect.get(pool, name, pool);
      // Called on the proxy, the pool's own `query` would be given the ear by our `connect`, and wait for an answer for ever.
      return typeof value === 'function' ? (value.bind(pool) as unknown) : value;
    },
  });
}

function impatient(client: Tx): Tx {
  const query = (...given: Parameters<Tx['query']>) =>
    impatiently(client.query(...given) as unknown as Promise<unknown>);
  return new Proxy(client, {
    get: (target, name) => (name === 'query' ? query : (Reflect.get(target, name, target) as unknown)),
  });
}

/**
 * graphile-worker itself tries again after these, a hundred times, and sleeps 3 s to 2 min between: for so long nothing is claimed when
 * Postgres is back. Without their code it gives up, and its runner is started again within a second.
 * https://github.com/graphile/worker/blob/main/src/lib.ts (RETRYABLE_ERRORS)
 */
async function impatiently<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!['57P03', 'EHOSTUNREACH', 'ETIMEDOUT'].includes(codeOf(error) ?? '')) throw error;
    throw new Error(messageOf(error), { cause: error });
  }
}
