import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  connectTimeoutMs,
  createClient,
  transaction,
  type Client,
  type Db,
  type Notification,
  type Tx,
} from '../../base/db/db.ts';
import type { Log } from '../../base/log.ts';
import type { Names } from '../../base/db/names.ts';
import { persist } from '../../base/db/persist.ts';
import { bind, loadStatements, query, quoted } from '../../base/db/sql.ts';
import { failLost } from '../run/ledger.ts';
import { version } from './version.ts';

export type MembershipOptions = {
  databaseUrl: string;
  names: Names;
  /** Of the app: its sessions are ended when this worker is reaped. */
  instance: string;
  db: Db;
  log: Log;
  queues: string[];
  heartbeatMs: number;
  deadAfterMs: number;
  /** Told what is said on the workers' channel. */
  onNews: (news: Notification) => void;
  /** Told when the session listens, again: news may have been missed. */
  onBack: () => void;
};

const sql = loadStatements(import.meta.dirname, 'liveness.sql', [
  'join_fleet',
  'hold_lock',
  'is_member',
  'heartbeat',
  'add_pool',
  'drop_pool',
  'find_dead',
  'bury',
  'end_sessions',
  'end_former_session',
  'unlock_tickets',
  'jobs_of',
  'leave_fleet',
]);

/**
 * When Postgres comes back, all locks are free and all heartbeats old for a moment. Nobody is declared dead until we have been back
 * ourselves for as long as the others may take to show up again. Who has just been started knows of no such moment, and waits for as long
 * as it takes to open a connection.
 */
const settleMs = { back: connectTimeoutMs + 1_000, started: 1_500 };
/** How long a lock must have been free. */
const secondLookMs = 500;

type Suspect = { id: string; silent: boolean };
type Dead = { id: string; instance: string; host: string; pid: number; queues: string[]; pools: string[] };

export type Membership = Awaited<ReturnType<typeof joinFleet>>;

/**
 * This process as a member of the fleet: its row in `workers`, the session that holds its lock and listens for pokes, and its
 * part in burying others.
 */
export async function joinFleet({
  databaseUrl,
  names,
  instance,
  db,
  log,
  queues,
  heartbeatMs,
  deadAfterMs,
  onNews,
  onBack,
}: MembershipOptions) {
  const unlock = bind(sql.unlock_tickets, { tickets: names.tickets });
  let id = randomUUID();
  let session: Client | undefined;
  let heldSince = Infinity;
  let settle = settleMs.started;
  let holding: Promise<boolean> | undefined;
  const leaving = new AbortController();

  /** Opens the session of this id: its lock first, so that nobody finds our row without it, then the row. */
  async function join(): Promise<void> {
    await connect(async (client) => {
      await query(client, sql.join_fleet, { id, instance, host: hostname(), pid: process.pid, version, queues });
      return true;
    });
  }

  /** Opens the session again, if it is lost. @returns false when the fleet has declared us dead */
  function hold(): Promise<boolean> {
    if (session) return Promise.resolve(true);
    return (holding ??= connect(async (client) => (await query(client, sql.is_member, { id })).length === 1).finally(
      () => (holding = undefined),
    ));
  }

  async function connect(belongs: (client: Client) => Promise<boolean>): Promise<boolean> {
    const as = id;
    const client = createClient(databaseUrl, { instance });
    client.on('notification', onNews);
    client.on('end', () => {
      if (session !== client) return;
      session = undefined;
      heldSince = Infinity;
      settle = settleMs.back;
      if (!leaving.signal.aborted) hold().catch(() => {});
    });
    try {
      await client.connect();
      await client.query(`listen ${quoted(names.workers)}`);
      const held = await takeLock(client);
      const member = await belongs(client);
      // We have started over meanwhile: this lock is of the worker that we were.
      if (as !== id) {
        await client.end();
        return true;
      }
      if (member && held && !leaving.signal.aborted) {
        session = client;
        heldSince = performance.now();
        onBack();
      } else await client.end();
      return member;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  /** The server may not have noticed yet that the session which held the lock before is lost: then we end it. */
  async function takeLock(client: Client): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      const [lock] = await query<{ held: boolean }>(client, sql.hold_lock, { id });
      if (lock!.held || tries > 1) return lock!.held;
      await query(client, sql.end_former_session, { id });
    }
  }

  /** Those whose lock is free, and those silent for too long: as far as we have been here long enough to judge. */
  async function findDead(): Promise<Suspect[]> {
    const backForMs = performance.now() - heldSince;
    if (backForMs < settle) return [];
    const found = await query<Suspect>(db, sql.find_dead, { self: id, dead_after_s: deadAfterMs / 1_000 });
    return found.filter(({ silent }) => !silent || backForMs > settle + heartbeatMs);
  }

  /** Buries one worker: its tickets are unlocked, and its jobs are retried as `worker_lost`. */
  async function buryOne(dead: Suspect): Promise<void> {
    await transaction(db, async (tx) => {
      const [worker] = await query<Dead>(tx, sql.bury, dead);
      if (!worker) return;
      // A process that is frozen inside a transaction holds its rows locked.
      await query(tx, sql.end_sessions, { instance: worker.instance });
      const lost = await retryJobs(tx, worker);
      await query(tx, unlock, { channel: names.workers, pools: worker.pools, queues: worker.queues });
      log.warn({ worker: worker.id, host: worker.host, pid: worker.pid, jobs: lost }, 'buried a dead worker');
    });
  }

  /** @returns how many jobs the worker ran */
  async function retryJobs(tx: Tx, worker: { id: string; queues: string[] }): Promise<number> {
    let lost = 0;
    for (const queue of worker.queues) {
      const running = bind(sql.jobs_of, { live: `${queue}_jobs_live` });
      const jobs = await query<{ id: number; attempt: number }>(tx, running, { worker: worker.id });
      await failLost(tx, queue, worker.id, jobs);
      lost += jobs.length;
    }
    return lost;
  }

  return {
    id: () => id,

    join,
    hold,

    /** Renews the heartbeat. @returns false when the fleet has declared us dead */
    async beat(): Promise<boolean> {
      const as = id;
      return (await query(db, sql.heartbeat, { id })).length === 1 || as !== id;
    },

    /** Asks the session for an answer: one that is lost without a word is found by `watchSessions` when none comes. */
    async ping(): Promise<void> {
      await session?.query('select');
    },

    /** Whether our lock is held: without it we may be declared dead at any moment. */
    holdsLock: () => session !== undefined,

    /** Starts over under a new id, after having been declared dead; when nothing runs here any more. */
    async rejoin(): Promise<void> {
      const old = session;
      session = undefined;
      heldSince = Infinity;
      settle = settleMs.back;
      await old?.end().catch(() => {});
      // What we started under the old id after it was reaped; of what cannot be retried here, the reconciler takes care.
      await transaction(db, (tx) => retryJobs(tx, { id, queues })).catch((error: unknown) =>
        log.warn({ err: error }, 'could not retry the jobs of the worker that this one was'),
      );
      id = randomUUID();
      await join();
    },

    /**
     * Buries the workers that are dead: those silent for too long, and those whose lock was free at two looks, since a session that
     * broke is opened again at once.
     */
    async bury(): Promise<void> {
      const suspects = await findDead();
      if (suspects.length === 0) return;
      await sleep(secondLookMs, undefined, { ref: false });
      for (const dead of await findDead())
        if (suspects.some(({ id: suspect }) => suspect === dead.id))
          await buryOne(dead).catch((error: unknown) =>
            log.warn({ err: error, worker: dead.id }, 'could not bury a dead worker'),
          );
    },

    pools: {
      add: async (pool: string) => void (await query(db, sql.add_pool, { id, pool })),
      /** Asks until Postgres has answered: while we live, nobody else unlocks the tickets of a pool that is known to the fleet. */
      async drop(pool: string, queue: string) {
        await persist(async () => {
          await query(db, unlock, { channel: names.workers, pools: [pool], queues: [queue] });
          await query(db, sql.drop_pool, { id, pool });
        }, leaving.signal);
      },
    },

    /** Leaves the fleet. Where jobs of ours still run, our row stays: the others bury it as soon as our lock is free. */
    async leave(clean: boolean): Promise<void> {
      leaving.abort();
      if (clean) await query(db, sql.leave_fleet, { id }).catch(() => {});
      await session?.end().catch(() => {});
    },
  };
}
