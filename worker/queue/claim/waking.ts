import type { Db } from '../../base/db/db.ts';
import { loadStatements, query, type Statement } from '../../base/db/sql.ts';
import type { Log } from '../../base/log.ts';
import { paced } from '../../base/paced.ts';
import type { Uncommitted } from './uncommitted.ts';

const sql = loadStatements(import.meta.dirname, 'waking.sql', ['notify_of', 'notify_no_more', 'commits_wait']);

/** The pause before it polls again: after it found something, and at most. */
const pauseMs = { first: 2, last: 25 };

export type Timing = {
  /**
   * So many notifications within so many ms are many. `some` are too many if commits wait for one another: with a disk
   * that needs 20 ms for a commit, they do so at 40 a second from many producers.
   */
  many: { notifications: number; some: number; withinMs: number };
  /**
   * How long there were not many tickets before it asks to be notified: at least; and doubled up to the most, when that
   * was too soon.
   */
  patienceMs: { least: number; most: number };
  /** It was too soon when there were many again within this. */
  tooSoonMs: number;
};
const usual: Timing = {
  many: { notifications: 50, some: 10, withinMs: 500 },
  patienceMs: { least: 500, most: 30_000 },
  tooSoonMs: 2_000,
};

export type WakingOptions = {
  queue: string;
  db: Db;
  log: Log;
  /** Its row in `workers`. */
  worker: () => string;
  /** Searches for due tickets, if it is not doing so already. */
  poll: () => void;
  /** Finds all tickets that are committed by now, and all jobs that will be due soon. */
  catchUp: () => void;
  uncommitted: Uncommitted;
  /** For tests, which have less time. */
  timing?: Timing | undefined;
};

/**
 * How a queue's runner learns of new tickets. While few jobs are inserted, each insert notifies it. While many are, it
 * polls every few milliseconds, and inserts do not notify: a commit with a NOTIFY holds a lock of the whole server.
 *
 * It polls until there were not many tickets for a while. Then it writes to its row in `workers` that it wants to be
 * notified, searches once more, and again after each transaction that was in progress then, which may not have seen the
 * row. Why no job is overlooked: add_tickets in migrations/0003_tickets.sql.
 */
export class Waking {
  readonly #options: WakingOptions;
  readonly #timing: Timing;
  readonly #heard: Recent;
  readonly #found: Recent;
  #timer: NodeJS.Timeout | undefined;
  /** Whether its runner claims. Notifications are heard before and after that, too. */
  #claims = false;
  #polling = false;
  /** Raised each time that it begins to poll: a request to be notified that began before does not stop the polling. */
  #polls = 0;
  #pause = pauseMs.first;
  /** How long there were not many tickets before it asks to be notified. */
  #patience: number;
  /** When there were many the last time. */
  #manyAt = -Infinity;
  #exhaustedAt = -Infinity;
  #notifiedSince = -Infinity;
  #asking = false;
  /** The last change of its row. */
  #changes: Promise<unknown> = Promise.resolve();
  readonly #relieveSoon: () => Promise<void>;

  constructor(options: WakingOptions) {
    this.#options = options;
    this.#timing = options.timing ?? usual;
    this.#heard = new Recent(this.#timing.many.notifications);
    this.#found = new Recent(this.#timing.many.notifications);
    this.#patience = this.#timing.patienceMs.least;
    this.#relieveSoon = paced(this.#timing.many.withinMs / 2, () => this.#relieve());
  }

  /** To be called when its runner has begun to claim, and when notifications may have been missed. */
  start(): void {
    this.#claims = true;
    this.#manyAt = this.#exhaustedAt = -Infinity;
    this.#found.forget();
    this.#patience = this.#timing.patienceMs.least;
    this.#poll();
  }

  /** To be called when its runner claims no more. */
  stop(): void {
    this.#claims = false;
    this.#stopPolling();
  }

  #stopPolling(): void {
    clearTimeout(this.#timer);
    this.#polling = false;
  }

  /** To be called when a ticket was claimed. */
  found(): void {
    const { many } = this.#timing;
    this.#found.add();
    if (this.#found.within(many.notifications, many.withinMs)) this.#manyAt = performance.now();
    this.#pause = pauseMs.first;
  }

  /** To be called when a search has found no more tickets. */
  exhausted(): void {
    this.#exhaustedAt = performance.now();
  }

  #poll(): void {
    this.#polls++;
    this.#polling = true;
    this.#pause = pauseMs.first;
    clearTimeout(this.#timer);
    this.#tick();
  }

  #tick(): void {
    this.#timer = setTimeout(() => {
      this.#options.poll();
      this.#pause = Math.min(this.#pause * 1.5, pauseMs.last);
      const fewFor = performance.now() - this.#manyAt;
      if (this.#exhaustedAt > this.#found.lastAt && fewFor > this.#patience) void this.#askToBeNotified();
      this.#tick();
    }, this.#pause);
  }

  async #askToBeNotified(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const { queue, log, uncommitted, catchUp } = this.#options;
    const mine = this.#polls;
    try {
      const [row] = await this.#change(sql.notify_of);
      if (row) await uncommitted.watch(queue);
      // Without a row it was taken for dead, and starts over soon.
      if (!row || !this.#polling || mine !== this.#polls) return;
      this.#stopPolling();
      this.#notifiedSince = performance.now();
      catchUp();
    } catch (error) {
      log.debug({ err: error, queue }, 'could not ask to be notified, will try again');
    } finally {
      this.#asking = false;
      // If it still polls, it goes on for a while.
      this.#manyAt = performance.now();
    }
  }

  /** To be called for each notification about the queue. */
  heard(): void {
    if (!this.#claims) return;
    const { many } = this.#timing;
    this.#heard.add();
    if (this.#heard.within(many.notifications, many.withinMs)) this.#pollInstead();
    else if (!this.#polling && this.#heard.within(many.some, many.withinMs)) void this.#relieveSoon().catch(() => {});
  }

  /** Polls if some notifications are too many already. */
  async #relieve(): Promise<void> {
    const [wait] = await query<{ found: boolean }>(this.#options.db, sql.commits_wait);
    if (wait!.found && this.#claims && !this.#polling) this.#pollInstead();
  }

  #pollInstead(): void {
    const { patienceMs, tooSoonMs } = this.#timing;
    const now = performance.now();
    this.#heard.forget();
    if (!this.#polling) {
      const tooSoon = now - this.#notifiedSince < tooSoonMs;
      this.#patience = tooSoon ? Math.min(this.#patience * 2, patienceMs.most) : patienceMs.least;
    }
    this.#manyAt = now;
    // Also when it polls already: it may be about to stop that, believing that it is notified.
    this.#poll();
    this.#askNotToBe();
  }

  /** It polls already when an insert can see that it does not want to be notified. */
  #askNotToBe(): void {
    const { queue, log } = this.#options;
    this.#change(sql.notify_no_more).catch((error: unknown) =>
      log.debug({ err: error, queue }, 'could not ask not to be notified'),
    );
  }

  /** Changes its row. One change after another: the next must see the row as the last left it. */
  #change(statement: Statement): Promise<{ id: string }[]> {
    const { queue, db, worker } = this.#options;
    const done = this.#changes.then(() => query<{ id: string }>(db, statement, { queue, worker: worker() }));
    this.#changes = done.catch(() => {});
    return done;
  }
}

/** When the last events happened. */
class Recent {
  readonly #at: number[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(): void {
    this.#at.push(performance.now());
    if (this.#at.length > this.#most) this.#at.shift();
  }

  get lastAt(): number {
    return this.#at.at(-1) ?? -Infinity;
  }

  /** Whether the last `count` events happened within `ms`, until now. */
  within(count: number, ms: number): boolean {
    return performance.now() - (this.#at.at(-count) ?? -Infinity) < ms;
  }

  forget(): void {
    this.#at.length = 0;
  }
}
