import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createClient, transaction, type Client, type Db } from '../base/db.ts';
import type { Log } from '../base/log.ts';
import { bind, loadStatements, query } from '../base/sql.ts';
import { failLost } from './ledger.ts';
import { version } from './version.ts';

export type MembershipOptions = {
  databaseUrl: string;
  db: Db;
  log: Log;
  queues: string[];
  heartbeatMs: number;
  deadAfterMs: number;
  /** A running job was taken from somebody: look whether it was ours. */
  onPoke: () => void;
};

const sql = loadStatements(import.meta.dirname, 'liveness.sql');

/**
 * When Postgres comes back, all locks are free and all heartbeats old for a moment. Nobody is declared dead until we have been
 * back ourselves for as long as the others need to show up again.
 */
const settleMs = 3_000;

/**
 * This process as a member of the fleet: its row in `workers`, the session that holds its lock and listens for pokes, and its
 * part in burying others.
 */
export async function joinFleet({ databaseUrl, db, log, queues, heartbeatMs, deadAfterMs, onPoke }: MembershipOptions) {
  let id = randomUUID();
  let session: Client | undefined;
  let heldSince = Infinity;

  async function join(): Promise<void> {
    await query(db, sql['join_fleet']!, { id, host: hostname(), pid: process.pid, version, queues });
    await hold();
  }

  /** Opens the session that holds our lock, if it is not open. @returns false when the fleet has declared us dead */
  async function hold(): Promise<boolean> {
    if (session) return true;
    const client = createClient(databaseUrl);
    client.on('error', () => {});
    client.on('notification', onPoke);
    client.on('end', () => {
      if (session !== client) return;
      session = undefined;
      heldSince = Infinity;
    });
    try {
      await client.connect();
      // A peer that vanished without a word is noticed by the server within half a minute.
      await client.query(
        `set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3; listen rowmill`,
      );
      const [answer] = await query<{ held: boolean; member: boolean }>(client, sql['hold_lock']!, { id });
      if (answer?.held && answer.member) {
        session = client;
        heldSince = performance.now();
        return true;
      }
      await client.end();
      return answer?.member ?? false;
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
  }

  return {
    id: () => id,

    join,
    hold,

    /** Renews the heartbeat. @returns false when the fleet has declared us dead */
    beat: async () => (await query(db, sql['heartbeat']!, { id })).length === 1,

    /** Whether our lock is held: without it we may be declared dead at any moment. */
    holdsLock: () => session !== undefined,

    /** Starts over under a new id, after having been declared dead. */
    async rejoin(): Promise<void> {
      await session?.end().catch(() => {});
      id = randomUUID();
      await join();
    },

    /** Buries the dead: their tickets are unlocked, and their jobs are retried as `worker_lost`. */
    async bury(): Promise<void> {
      const backForMs = performance.now() - heldSince;
      await transaction(db, async (tx) => {
        const dead = await query<{ id: string; host: string; pid: number; queues: string[]; pools: string[] }>(
          tx,
          sql['bury_dead']!,
          {
            self: id,
            dead_after_s: deadAfterMs / 1_000,
            trust_heartbeats: backForMs > settleMs + heartbeatMs,
            trust_locks: backForMs > settleMs,
          },
        );
        for (const worker of dead) {
          let lost = 0;
          for (const queue of worker.queues) {
            const jobs = await query<{ id: number; attempt: number }>(
              tx,
              bind(sql['jobs_of']!, { live: `${queue}_jobs_live` }),
              {
                worker: worker.id,
              },
            );
            await failLost(tx, queue, worker.id, jobs);
            lost += jobs.length;
          }
          await query(tx, sql['unlock_tickets']!, { pools: worker.pools });
          log.warn({ worker: worker.id, host: worker.host, pid: worker.pid, jobs: lost }, 'buried a dead worker');
        }
      });
    },

    pools: {
      add: async (pool: string) => void (await query(db, sql['add_pool']!, { id, pool })),
      drop: async (pool: string) => void (await query(db, sql['drop_pool']!, { id, pool })),
    },

    /** Leaves the fleet. Where jobs of ours still run, our row stays: the others bury it as soon as our lock is free. */
    async leave(clean: boolean): Promise<void> {
      if (clean) await query(db, sql['leave_fleet']!, { id }).catch(() => {});
      await session?.end().catch(() => {});
    },
  };
}
