import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import {
  connectTimeoutMs,
  createClient,
  transaction,
  type Client,
  type Db,
  type Notification,
} from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';
import type { Names } from '../../base/db/names.ts';
import { loadStatements, query, quoted } from '../../base/db/sql.ts';
import { engineSettings, engineTimeoutMs } from './connections.ts';
import { retryJobsOf } from './lost-jobs.ts';
import { Pools } from './pools.ts';
import { version } from './version.ts';

export type MembershipOptions = {
  databaseUrl: string;
  names: Names;
  /** The app's instance: its sessions are ended when this worker is reaped. */
  instance: string;
  db: Db;
  log: Log;
  queues: string[];
  /** How many jobs run here. */
  running: () => number;
  /** Called with each notification on the workers' channel. */
  onNews: (news: Notification) => void;
  /** Called when the session listens, also again: notifications may have been missed. */
  onBack: () => void;
};

const sql = loadStatements(import.meta.dirname, 'liveness.sql', [
  'join_fleet',
  'hold_lock',
  'is_member',
  'heartbeat',
  'end_former_session',
  'leave_fleet',
]);

/**
 * When Postgres comes back, all locks are free and all heartbeats old for a moment. So nobody is declared dead until we
 * have been back for as long as the others may need to reconnect. A worker that has just started knows of no such
 * moment, and waits for as long as it takes to open a connection.
 */
const settleMs = { back: connectTimeoutMs + 1_000, started: 1_500 };

/** This process as a member of the fleet: its row in `workers`, and the session that holds its lock and listens. */
export class Membership {
  readonly pools: Pools;
  readonly #options: MembershipOptions;
  #id = randomUUID();
  #session: Client | undefined;
  #heldSince = Infinity;
  #settle = settleMs.started;
  #holding: Promise<boolean> | undefined;
  readonly #leaving = new AbortController();

  constructor(options: MembershipOptions) {
    this.#options = options;
    this.pools = new Pools(options, () => this.#id, this.#leaving.signal);
  }

  id(): string {
    return this.#id;
  }

  /** Opens the session of this id: first its lock, so that nobody finds our row without it, then the row. */
  async join(): Promise<void> {
    const { instance, queues } = this.#options;
    const row = { id: this.#id, instance, host: hostname(), pid: process.pid, version, queues };
    await this.#connect(async (client) => {
      await query(client, sql.join_fleet, row);
      return true;
    });
  }

  /** Opens the session again if it is lost. @returns false if the fleet has declared us dead */
  async hold(): Promise<boolean> {
    if (this.#session) return true;
    const isMember = async (client: Client) => (await query(client, sql.is_member, { id: this.#id })).length === 1;
    return (this.#holding ??= this.#connect(isMember).finally(() => (this.#holding = undefined)));
  }

  async #connect(belongs: (client: Client) => Promise<boolean>): Promise<boolean> {
    const { databaseUrl, instance, names, onNews, onBack } = this.#options;
    const as = this.#id;
    const client = createClient(databaseUrl, { instance, setUp: engineSettings, queryTimeoutMs: engineTimeoutMs });
    client.on('notification', onNews);
    client.on('end', () => this.#ended(client));
    try {
      await client.connect();
      await client.query(`listen ${quoted(names.workers)}`);
      const held = await this.#takeLock(client);
      const member = await belongs(client);
      // We have started over meanwhile: this lock belongs to the worker that we were.
      if (as !== this.#id) {
        await client.end();
        return true;
      }
      if (member && held && !this.#leaving.signal.aborted) {
        this.#session = client;
        this.#heldSince = performance.now();
        onBack();
      } else await client.end();
      return member;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  /** The server may not have noticed yet that the session with the lock is lost: then we end that session. */
  async #takeLock(client: Client): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      const [lock] = await query<{ held: boolean }>(client, sql.hold_lock, { id: this.#id });
      if (lock!.held || tries > 1) return lock!.held;
      await query(client, sql.end_former_session, { id: this.#id });
    }
  }

  #ended(client: Client): void {
    if (this.#session !== client) return;
    this.#lost();
    if (!this.#leaving.signal.aborted) this.hold().catch(() => {});
  }

  #lost(): void {
    this.#session = undefined;
    this.#heldSince = Infinity;
    this.#settle = settleMs.back;
  }

  /** Renews the heartbeat. @returns false if the fleet has declared us dead */
  async beat(): Promise<boolean> {
    const as = this.#id;
    const { db, running } = this.#options;
    const beat = { id: as, memory_bytes: process.memoryUsage.rss(), running: running() };
    return (await query(db, sql.heartbeat, beat)).length === 1 || as !== this.#id;
  }

  /**
   * The session, if it is open. It must be asked something every second: if it is lost without an error, no answer
   * comes, and `watchSessions` finds it.
   */
  session(): Client | undefined {
    return this.#session;
  }

  /** Whether our lock is held: without it we may be declared dead at any moment. */
  holdsLock(): boolean {
    return this.#session !== undefined;
  }

  /**
   * For how many milliseconds we have been connected for long enough to judge who is dead. Negative: not long enough.
   */
  settledMs(): number {
    return performance.now() - this.#heldSince - this.#settle;
  }

  /** Starts over under a new id after we were declared dead. Call it when nothing runs here any more. */
  async rejoin(): Promise<void> {
    const { db, log, queues } = this.#options;
    const former = this.#session;
    this.#lost();
    await former?.end().catch(() => {});
    // Jobs that we started under the old id after it was reaped. The reconciler retries those that cannot be retried
    // here.
    await transaction(db, (tx) => retryJobsOf(tx, { id: this.#id, queues })).catch((error: unknown) =>
      log.warn({ err: error }, 'could not retry the jobs of the worker that this one was'),
    );
    this.#id = randomUUID();
    await this.join();
  }

  /** Leaves the fleet. If jobs of ours still run, our row stays: the others reap it as soon as our lock is free. */
  async leave(clean: boolean): Promise<void> {
    this.#leaving.abort();
    if (clean) await query(this.#options.db, sql.leave_fleet, { id: this.#id }).catch(() => {});
    await this.#session?.end().catch(() => {});
  }
}
