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
   * So many notifications within so many ms are many. Some may be too many, where commits wait for one another: as they
   * do at 40 a second from many producers, where the disk needs 20 ms.
   */
  many: { notifications: number; some: number; withinMs: number };
  /**
   * How long it polls in vain before it asks to be notified: at least; and doubled up to the most, when that was too
   * soon.
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
 * It polls until it finds nothing for a while. Then it writes to its row in `workers` that it wants to be notified,
 * searches once more, and again after each transaction that was in progress then, which may not have seen the row. Why
 * no job is overlooked: add_tickets in migrations/0003_tickets.sql.
 */
export type Waking = ReturnType<typeof createWaking>;

export function createWaking(options: WakingOptions) {
  const { queue, db, log, worker, poll: pollRunner, catchUp, uncommitted } = options;
  const { many, patienceMs, tooSoonMs } = options.timing ?? usual;
  const heardAt: number[] = [];
  let timer: NodeJS.Timeout | undefined;
  /** Raised each time that it begins to poll: what is under way to stop that is void. */
  let polls = 0;
  let polling = false;
  let pause = pauseMs.first;
  let patient = patienceMs.least;
  let foundAt = -Infinity;
  let exhaustedAt = -Infinity;
  let notifiedSince = -Infinity;
  let asking = false;
  let changes: Promise<unknown> = Promise.resolve();

  function poll(): void {
    polls++;
    polling = true;
    pause = pauseMs.first;
    clearTimeout(timer);
    tick();
  }

  function tick(): void {
    timer = setTimeout(() => {
      pollRunner();
      pause = Math.min(pause * 1.5, pauseMs.last);
      if (exhaustedAt > foundAt && performance.now() - foundAt > patient) void askToBeNotified();
      tick();
    }, pause);
  }

  async function askToBeNotified(): Promise<void> {
    if (asking) return;
    asking = true;
    const mine = polls;
    try {
      const [row] = await change(sql.notify_of);
      if (row) await uncommitted.watch(queue);
      // Without a row it was taken for dead, and starts over soon.
      if (!row || !polling || mine !== polls) return;
      clearTimeout(timer);
      polling = false;
      notifiedSince = performance.now();
      catchUp();
    } catch (error) {
      log.debug({ err: error, queue }, 'could not ask to be notified, will try again');
    } finally {
      asking = false;
      // Where it still polls it does so for a while.
      foundAt = Math.max(foundAt, performance.now());
    }
  }

  /** Polls where some notifications are too many. */
  const relieve = paced(many.withinMs / 2, async () => {
    const [wait] = await query<{ found: boolean }>(db, sql.commits_wait);
    if (wait!.found && !polling) pollInstead();
  });

  function pollInstead(): void {
    const now = performance.now();
    heardAt.length = 0;
    if (!polling) patient = now - notifiedSince < tooSoonMs ? Math.min(patient * 2, patienceMs.most) : patienceMs.least;
    foundAt = now;
    // Also when it polls already: it may be about to stop that, believing that it is notified.
    poll();
    askNotToBe();
  }

  /** It polls already when an insert can see that it does not want to be notified. */
  function askNotToBe(): void {
    change(sql.notify_no_more).catch((error: unknown) =>
      log.debug({ err: error, queue }, 'could not ask not to be notified'),
    );
  }

  /** Changes its row. One change after another: the next must see the row as the last left it. */
  function change(statement: Statement): Promise<{ id: string }[]> {
    const done = changes.then(() => query<{ id: string }>(db, statement, { queue, worker: worker() }));
    changes = done.catch(() => {});
    return done;
  }

  return {
    /** To be called when its runner has begun to claim, and when notifications may have been missed. */
    start(): void {
      foundAt = exhaustedAt = -Infinity;
      patient = patienceMs.least;
      poll();
    },

    stop(): void {
      clearTimeout(timer);
      polling = false;
    },

    /** To be called for each notification about the queue. */
    heard(): void {
      const now = performance.now();
      heardAt.push(now);
      if (heardAt.length > many.notifications) heardAt.shift();
      const within = (last: number) => now - (heardAt.at(-last) ?? -Infinity) < many.withinMs;
      if (within(many.notifications)) pollInstead();
      else if (!polling && within(many.some)) void relieve().catch(() => {});
    },

    /** To be called when a ticket was claimed. */
    found(): void {
      foundAt = performance.now();
      pause = pauseMs.first;
    },

    /** To be called when a search has found no more tickets. */
    exhausted(): void {
      exhaustedAt = performance.now();
    },
  };
}
