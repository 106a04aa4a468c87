import { EventEmitter } from 'node:events';
import { Logger, run, type Job, type Runner, type WorkerEvents, type WorkerPool } from 'graphile-worker';
import { z } from 'zod';
import type { Db } from '../../base/db/db.ts';
import { within } from '../../base/deadline.ts';
import type { Log } from '../../base/log.ts';
import type { Ticket } from '../run/backlog.ts';
import type { Claims } from './claims.ts';
import { graphilePool } from './graphile-pool.ts';

export type GraphileOptions = {
  queue: string;
  /** The schema of the tickets. */
  schema: string;
  /** The most tickets that are held at once. */
  slots: number;
  db: Db;
  log: Log;
  /** Resolves when the ticket is done. */
  take: (ticket: Ticket) => Promise<void>;
  /** The fleet knows the pools, so that a dead worker's tickets can be unlocked. */
  pools: { add(id: string): Promise<void>; drop(id: string, queue: string): Promise<void> };
};

const ticketPayload = z.object({ kind: z.string().optional(), ids: z.array(z.number()) });
const startTimeoutMs = 30_000;
const stopTimeoutMs = 2_000;

/** One run of graphile-worker for the tickets of one queue, until it stops by itself or is stopped. */
export class Graphile {
  readonly claims: Claims;
  readonly #options: GraphileOptions;
  readonly #ended = Promise.withResolvers<void>();
  #runner: Runner | undefined;
  #pool: WorkerPool | undefined;
  #registered: Promise<void> = Promise.resolve();

  constructor(options: GraphileOptions, claims: Claims) {
    this.#options = options;
    this.claims = claims;
  }

  /** @throws if it has not started in time: then it is given up, and stopped if it starts after all */
  async start(): Promise<void> {
    const starting = this.#run();
    this.#runner = await within(startTimeoutMs, starting);
    if (this.#runner) return;
    void starting.then((late) => late.stop()).catch(() => {});
    throw new Error(`graphile-worker did not start within ${startTimeoutMs / 1_000} s`);
  }

  #run(): Promise<Runner> {
    const { queue, schema, slots, db, log } = this.#options;
    return run({
      pgPool: graphilePool(db, schema),
      noHandleSignals: true,
      events: this.#events(),
      logger: quiet(log, queue),
      parsedCronItems: [],
      forbiddenFlags: this.claims.gate.pass,
      taskList: { [queue]: (payload, { job }) => this.#take(payload, job) },
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

  #events(): WorkerEvents {
    const { claims } = this;
    const { queue, log, pools } = this.#options;
    const events: WorkerEvents = new EventEmitter();
    events.on('pool:create', ({ workerPool }) => {
      this.#pool = workerPool;
      this.#registered = pools.add(workerPool.id);
      this.#registered.catch(() => this.end());
    });
    events.on('pool:fatalError', ({ error }) => {
      log.warn({ err: error, queue }, 'graphile-worker gave up, starting it again');
      this.end();
    });
    events.on('pool:gracefulShutdown', () => {
      this.end();
      // It waits for its slots, and they may wait at the gate. They claim nothing more, so they are let through.
      claims.gate.open();
    });
    // Tickets may have been claimed, and the answer lost: they are unlocked with the pool.
    events.on('worker:getJob:error', () => this.end());
    events.on('worker:getJob:start', ({ worker }) => claims.asked(worker));
    events.on('worker:getJob:empty', ({ worker }) => claims.foundNothing(worker));
    events.on('job:start', () => claims.found());
    return events;
  }

  async #take(payload: unknown, { priority }: Job): Promise<void> {
    await this.#registered;
    await this.#options.take({ ...ticketPayload.parse(payload), priority });
  }

  /** Resolves when it has stopped by itself, or `end` was called. */
  ended(): Promise<void> {
    return this.#ended.promise;
  }

  end(): void {
    this.#ended.resolve();
  }

  /**
   * Waits a little for the tickets that it holds. Those that stay locked are unlocked, and the worker that claims them
   * next starts their jobs.
   */
  async stop(): Promise<void> {
    const { queue, log, pools } = this.#options;
    if (this.#runner) {
      this.#runner.promise.catch(() => {});
      const stopping = this.#runner.stop().then(
        () => true,
        () => true,
      );
      if (!(await within(stopTimeoutMs, stopping)))
        log.debug({ queue }, 'graphile-worker did not stop in time, its tickets are unlocked');
    }
    if (this.#pool)
      await pools
        .drop(this.#pool.id, queue)
        .catch((error: unknown) => log.warn({ err: error, queue }, 'could not unlock tickets'));
  }
}

/** graphile-worker's own log lines, at debug level. */
function quiet(log: Log, queue: string): Logger {
  return new Logger(() => (level, message) => {
    if (level === 'error' || level === 'warning') log.debug({ queue, detail: message }, 'graphile-worker says');
  });
}
