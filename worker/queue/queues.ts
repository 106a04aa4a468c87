import { loadStatements, query, type Queryable } from '../base/db/sql.ts';
import { paced } from '../base/paced.ts';
import { createAlarm } from './claim/alarm.ts';
import { dueTickets } from './claim/due-tickets.ts';
import { createUncommitted } from './claim/uncommitted.ts';
import { ServedQueue, type Serving } from './queue.ts';
import type { QueueRow } from './served.ts';

const sql = loadStatements(import.meta.dirname, 'queues.sql', ['read_queues']);

/** The rows of all queues of the database. */
export const readQueues = (db: Queryable) => query<QueueRow>(db, sql.read_queues);

/** The queues that this process serves, and what wakes them. */
export class ServedQueues {
  readonly all: ServedQueue[];
  readonly #reads: Queryable;
  readonly #isResting: () => boolean;
  readonly #alarm: ReturnType<typeof createAlarm>;
  readonly #dueTickets: ReturnType<typeof dueTickets>;

  /** @param isResting whether none may be started now */
  constructor(
    rows: QueueRow[],
    serving: Omit<Serving, 'uncommitted' | 'refreshAlarm'> & { reads: Queryable },
    isResting: () => boolean,
  ) {
    const {
      db,
      names: { tickets },
      reads,
      signal,
    } = serving;
    this.#reads = reads;
    this.#dueTickets = dueTickets(reads, tickets);
    this.#isResting = isResting;
    const names = rows.map(({ name }) => name);
    this.#alarm = createAlarm(reads, names, (name) => this.get(name)?.wake());
    signal.addEventListener('abort', () => this.#alarm.stop(), { once: true });
    const uncommitted = createUncommitted(db, (name) => this.#dueSoon(name), signal);
    const refreshAlarm = () => this.#refreshAlarmSoon();
    this.all = rows.map((row) => new ServedQueue(row, { ...serving, uncommitted, refreshAlarm }));
  }

  get(name: string): ServedQueue | undefined {
    return this.all.find((queue) => queue.name === name);
  }

  /** Handles a notification about a queue: so many tickets are due, or jobs will be soon. */
  heard(what: 'due' | 'soon', name: string, tickets: number): void {
    this.get(name)?.heard();
    if (what === 'due') this.get(name)?.wake(tickets);
    else this.#dueSoon(name);
  }

  /** Jobs are due soon, or already: if their transaction took a while to commit. */
  #dueSoon(name: string): void {
    this.get(name)?.wake();
    this.#refreshAlarmSoon();
  }

  #refreshAlarmSoon(): void {
    void this.refreshAlarm().catch(() => {});
  }

  /** Reads which jobs will be due soon. Must be called each second. */
  refreshAlarm(): Promise<void> {
    return this.#alarm.refresh();
  }

  /** Wakes all when notifications may have been missed. */
  missed(): void {
    for (const queue of this.all) queue.missed();
    this.followSoon();
  }

  /** Finds due tickets of which no notification came. Must be called each WORKER_POLL_INTERVAL. */
  async poll(): Promise<void> {
    const due = new Map((await this.#dueTickets(this.all.map(({ name }) => name))).map((next) => [next.queue, next]));
    for (const queue of this.all) queue.polled(due.get(queue.name));
  }

  followSoon(): void {
    void this.follow().catch(() => {});
  }

  /** Follows what people change with SQL. Must be called each second, and when something was changed. */
  readonly follow = paced(0, async () => {
    const now = new Map((await readQueues(this.#reads)).map((row) => [row.name, row]));
    for (const queue of this.all) {
      if (this.#isResting()) return;
      await queue.follow(now.get(queue.name));
    }
  });

  /** Does some housekeeping for one queue after another. */
  async each(work: (queue: ServedQueue) => Promise<void>): Promise<void> {
    for (const queue of this.all) await work(queue);
  }
}
