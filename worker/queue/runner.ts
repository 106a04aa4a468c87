import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, run, type Runner as GraphileRunner, type WorkerEvents, type WorkerPool } from 'graphile-worker';
import { z } from 'zod';
import type { Db, Tx } from '../base/db.ts';
import type { Log } from '../base/log.ts';
import type { Ticket } from './backlog.ts';

/**
 * Claims one queue's tickets with graphile-worker, and keeps doing so. graphile-worker shuts its pool down on one failed batch, and
 * its promise may never settle when Postgres restarts; so it is watched by its events, and replaced when it stops by itself.
 */
export type Runner = ReturnType<typeof createRunner>;

export type RunnerOptions = {
  queue: string;
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
const startTimeoutMs = 30_000;
const stopTimeoutMs = 2_000;

type Running = {
  graphile?: GraphileRunner;
  pool?: WorkerPool;
  /** Slots that wait for Postgres to give them a ticket. */
  asking: number;
  registered: Promise<void>;
  lost: PromiseWithResolvers<void>;
};

export function createRunner({ queue, slots, db, log, pollIntervalMs, take, room, pools }: RunnerOptions) {
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
    for (let wait = 100; !signal.aborted; wait = Math.min(wait * 2, 5_000)) {
      let poll: NodeJS.Timeout | undefined;
      const running: Running = { asking: 0, registered: Promise.resolve(), lost: Promise.withResolvers() };
      try {
        running.graphile = await startedInTime(launch(running));
        current = running;
        const since = (claimedAt = Date.now());
        poll = setInterval(search, pollIntervalMs);
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
    events.on('pool:gracefulShutdown', () => running.lost.resolve());
    // Its tickets may have been claimed, and the answer lost: they are unlocked with the pool.
    events.on('worker:getJob:error', () => running.lost.resolve());
    events.on('worker:getJob:start', ({ worker }) => {
      running.asking++;
      asked.set(worker, performance.now());
    });
    events.on('worker:getJob:empty', ({ worker }) => {
      running.asking--;
      claimedAt = Date.now();
      if (asked.get(worker)! >= searchedAt) searchedAt = Infinity;
      // What it was to find came after it had asked.
      else goOn();
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
      taskList: {
        [queue]: async (payload, { job }) => {
          await running.registered;
          const taken = take({ ...ticketPayload.parse(payload), priority: job.priority });
          goOn();
          await taken;
        },
      },
      preset: {
        worker: {
          concurrentJobs: slots,
          // We poll for it: by one look, whatever the number of slots.
          pollInterval: 60_000,
          // Batching is what makes graphile-worker await its own writes (reference: its performance.md).
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    });
  }

  /** Looks for due tickets with so many free slots, at most, as there is room for what they find. */
  function wake(slotsAtMost: number): void {
    const wanted = Math.min(slotsAtMost, room() - (current?.asking ?? 0));
    if (wanted < slotsAtMost) searchedAt = performance.now();
    if (wanted > 0 && !stopped?.signal.aborted) current?.pool?.nudge(wanted);
  }

  /** Looks for due tickets when nobody knows how many there are: who finds one wakes the next to look for another. */
  function search(): void {
    searchedAt = performance.now();
    wake(1);
  }

  /** Goes on with a search that has not come to its end. */
  function goOn(): void {
    if (searchedAt < Infinity) wake(1);
  }

  // Waits a little for tickets in hand; what is left locked is unlocked, and its jobs are started by whoever claims it next.
  async function discard({ graphile, pool }: Running): Promise<void> {
    if (graphile) {
      graphile.promise.catch(() => {});
      await Promise.race([graphile.stop().catch(() => {}), sleep(stopTimeoutMs)]);
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
    goOn,
    /** Starts the engine below again. */
    restart: () => current?.lost.resolve(),
    /** Whether it is meant to claim, and when it last asked Postgres for a ticket and was answered. */
    state: () => ({ wanted: stopped !== undefined, claiming: current !== undefined, claimed_at: claimedAt }),
  };
}

/** A runner that does not come up in time is given up, and stopped when it does after all. */
async function startedInTime(starting: Promise<GraphileRunner>): Promise<GraphileRunner> {
  const late = new AbortController();
  const timeout = sleep(startTimeoutMs, undefined, { signal: late.signal, ref: false }).then(() => {
    void starting.then((runner) => runner.stop()).catch(() => {});
    throw new Error(`graphile-worker did not start within ${startTimeoutMs / 1_000} s`);
  });
  timeout.catch(() => {});
  return Promise.race([starting, timeout]).finally(() => late.abort());
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
 * A pool whose callers cannot LISTEN. graphile-worker wakes every runner of every process for every ticket; ours are woken for tickets of
 * their queue, by what the membership's session hears. graphile-worker asks for its listening connection, and for that alone, with a
 * callback.
 */
function deaf(db: Db): Db {
  const client = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) }) as unknown as Tx;
  const connect = (listener?: (error: undefined, client: Tx, release: () => void) => void) =>
    listener ? listener(undefined, client, () => {}) : db.connect();
  return new Proxy(db, {
    get: (pool, name) => (name === 'connect' ? connect : (Reflect.get(pool, name, pool) as unknown)),
  });
}
