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
import { failLost } from '../run/lost.ts';
import { version } from './version.ts';

export type MembershipOptions = {
  databaseUrl: string;
  names: Names;
  /** The app's instance: its sessions are ended when this worker is reaped. */
  instance: string;
  db: Db;
  log: Log;
  queues: string[];
  heartbeatMs: number;
  deadAfterMs: number;
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
  'add_pool',
  'drop_pool',
  'find_dead',
  'reap',
  'end_sessions',
  'end_former_session',
  'unlock_tickets',
  'jobs_of',
  'leave_fleet',
]);

/**
 * When Postgres comes back, all locks are free and all heartbeats old for a moment. So nobody is declared dead until we
 * have been back for as long as the others may need to reconnect. A worker that has just started knows of no such
 * moment, and waits for as long as it takes to open a connection.
 */
const settleMs = { back: connectTimeoutMs + 1_000, started: 1_500 };
/** How long a lock must have been free. */
const secondLookMs = 500;

type Suspect = { id: string; silent: boolean };
type Dead = { id: string; instance: string; host: string; pid: number; queues: string[]; pools: string[] };

export type Membership = Awaited<ReturnType<typeof joinFleet>>;

/**
 * This process as a member of the fleet: its row in `workers`, the session that holds its lock and listens, and its
 * part in reaping dead workers.
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

  /** Opens the session of this id: first its lock, so that nobody finds our row without it, then the row. */
  async function join(): Promise<void> {
    await connect(async (client) => {
      await query(client, sql.join_fleet, { id, instance, host: hostname(), pid: process.pid, version, queues });
      return true;
    });
  }

  /** Opens the session again if it is lost. @returns false if the fleet has declared us dead */
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
      // We have started over meanwhile: this lock belongs to the worker that we were.
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

  /** The server may not have noticed yet that the session with the lock is lost: then we end that session. */
  async function takeLock(client: Client): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      const [lock] = await query<{ held: boolean }>(client, sql.hold_lock, { id });
      if (lock!.held || tries > 1) return lock!.held;
      await query(client, sql.end_former_session, { id });
    }
  }

  /** Workers whose lock is free, or whose heartbeat is old, if we have been connected for long enough to judge. */
  async function findDead(): Promise<Suspect[]> {
    const backForMs = performance.now() - heldSince;
    if (backForMs < settle) return [];
    const found = await query<Suspect>(db, sql.find_dead, { self: id, dead_after_s: deadAfterMs / 1_000 });
    return found.filter(({ silent }) => !silent || backForMs > settle + heartbeatMs);
  }

  /** Reaps one worker: its tickets are unlocked, and its jobs are retried as `worker_lost`. */
  async function reapOne(dead: Suspect): Promise<void> {
    await transaction(db, async (tx) => {
      const [worker] = await query<Dead>(tx, sql.reap, dead);
      if (!worker) return;
      // A process that is frozen inside a transaction holds its rows locked.
      await query(tx, sql.end_sessions, { instance: worker.instance });
      const lost = await retryJobs(tx, worker);
      await query(tx, unlock, { channel: names.workers, pools: worker.pools, queues: worker.queues });
      log.warn({ worker: worker.id, host: worker.host, pid: worker.pid, jobs: lost }, 'reaped a dead worker');
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

    /** Renews the heartbeat. @returns false if the fleet has declared us dead */
    async beat(): Promise<boolean> {
      const as = id;
      return (await query(db, sql.heartbeat, { id })).length === 1 || as !== id;
    },

    /** Expects an answer on the session: if it is lost without an error, none comes, and `watchSessions` finds it. */
    async ping(): Promise<void> {
      await session?.query('select');
    },

    /** Whether our lock is held: without it we may be declared dead at any moment. */
    holdsLock: () => session !== undefined,

    /** Starts over under a new id after we were declared dead. Call it when nothing runs here any more. */
    async rejoin(): Promise<void> {
      const old = session;
      session = undefined;
      heldSince = Infinity;
      settle = settleMs.back;
      await old?.end().catch(() => {});
      // Jobs that we started under the old id after it was reaped. The reconciler retries those that cannot be retried
      // here.
      await transaction(db, (tx) => retryJobs(tx, { id, queues })).catch((error: unknown) =>
        log.warn({ err: error }, 'could not retry the jobs of the worker that this one was'),
      );
      id = randomUUID();
      await join();
    },

    /**
     * Reaps the dead workers: those whose heartbeat is old, and those whose lock was free at two checks, because a
     * session that broke is reopened at once.
     */
    async reap(): Promise<void> {
      const suspects = await findDead();
      if (suspects.length === 0) return;
      await sleep(secondLookMs, undefined, { ref: false });
      for (const dead of await findDead())
        if (suspects.some(({ id: suspect }) => suspect === dead.id))
          await reapOne(dead).catch((error: unknown) =>
            log.warn({ err: error, worker: dead.id }, 'could not reap a dead worker'),
          );
    },

    pools: {
      add: async (pool: string) => void (await query(db, sql.add_pool, { id, pool })),
      /** Retries until Postgres has answered: while we live, nobody else unlocks the tickets of a known pool. */
      async drop(pool: string, queue: string) {
        await persist(async () => {
          await query(db, unlock, { channel: names.workers, pools: [pool], queues: [queue] });
          await query(db, sql.drop_pool, { id, pool });
        }, leaving.signal);
      },
    },

    /** Leaves the fleet. If jobs of ours still run, our row stays: the others reap it as soon as our lock is free. */
    async leave(clean: boolean): Promise<void> {
      leaving.abort();
      if (clean) await query(db, sql.leave_fleet, { id }).catch(() => {});
      await session?.end().catch(() => {});
    },
  };
}
