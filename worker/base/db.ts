import pg from 'pg';
import { codeOf } from './errors.ts';
import type { Log } from './log.ts';

export type Db = pg.Pool;
export type Tx = pg.PoolClient;
export type Client = pg.Client;
export type Notification = pg.Notification;

/** bigint as a number: ids and counts stay below 2^53. timestamptz as a Date: infinity as the last there is, -infinity as the first. */
export const types = new pg.TypeOverrides();
types.setTypeParser(20, Number);
const time: (text: string) => Date | number = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ);
types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => {
  const parsed = time(text);
  return typeof parsed === 'number' ? new Date(Math.sign(parsed) * 8.64e15) : parsed;
});

export type PoolOptions = { max: number; log: Log; setUp?: string; queryTimeoutMs?: number };

/** The longest that opening a connection may take. */
export const connectTimeoutMs = 5_000;

/** @param setUp SQL that each new connection runs first, such as a `set` */
export function createPool(databaseUrl: string, { max, log, setUp, queryTimeoutMs }: PoolOptions): Db {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max,
    types,
    application_name: 'rowmill',
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: 30_000,
    ...(queryTimeoutMs ? { query_timeout: queryTimeoutMs } : {}),
    // pg-pool awaits it, whatever its types say.
    // oxlint-disable-next-line typescript/no-misused-promises
    ...(setUp ? { onConnect: async (client: pg.ClientBase) => void (await client.query(setUp)) } : {}),
  });
  // A backend that dies while idle is no news to anyone but the log: the pool replaces it.
  pool.on('error', (error) => pool.ending || log.warn({ err: error }, 'idle database connection lost'));
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/** One connection outside any pool, for what lives as long as a session: locks, LISTEN. */
export function createClient(databaseUrl: string): pg.Client {
  return new pg.Client({
    connectionString: databaseUrl,
    types,
    application_name: 'rowmill',
    keepAlive: true,
    keepAliveInitialDelayMillis: 5_000,
    connectionTimeoutMillis: connectTimeoutMs,
  });
}

/** Runs `work` in one transaction: committed when it returns, rolled back when it throws. */
export async function transaction<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  const tx = await db.connect();
  let broken = false;
  try {
    await tx.query('begin');
    const result = await work(tx);
    await tx.query('commit');
    return result;
  } catch (error) {
    await tx.query('rollback').catch(() => (broken = true));
    throw error;
  } finally {
    tx.release(broken);
  }
}

// Deadlock, serialization failure, statement timeout, admin shutdown and crash (57xxx), connection exceptions (08xxx), no disk,
// memory or connection left (53xxx), a lock not had in time, a standby that is being promoted; and what sockets and DNS say.
const transient =
  /^(40P01|40001|57014|57P0\d|08\w{3}|53\w{3}|55P03|25006|ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;
const lostConnection =
  /Connection terminated|not queryable|Query read timeout|timeout expired|connection timeout|timeout exceeded when trying to connect/i;

/** Whether Postgres may well answer if asked again. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return transient.test(codeOf(error) ?? '') || lostConnection.test(error.message);
}

/** Whether somebody else's lock was waited for in vain. */
export const isLockTimeout = (error: unknown) => codeOf(error) === '55P03';
