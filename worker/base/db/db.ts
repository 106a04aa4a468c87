import pg from 'pg';
import { codeOf, messageOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { connectTimeoutMs, isUnsent, Session, sessionConfig, type SessionOptions } from './session.ts';

export { connectTimeoutMs, isUnsent };

export type Db = pg.Pool;
export type Tx = pg.PoolClient;
export type Client = pg.Client & Pick<Session, 'pid' | 'encrypted'>;
export type Notification = pg.Notification;

/**
 * Reads bigint as a number, because ids and counts stay below 2^53, and timestamptz as a Date, with infinity as the
 * last possible Date and -infinity as the first.
 */
export const types = new pg.TypeOverrides();
types.setTypeParser(20, Number);
const time: (text: string) => Date | number = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ);
types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, readTime);

/** Reads a timestamptz that was selected as text. */
export function readTime(text: string): Date {
  const parsed = time(text);
  return typeof parsed === 'number' ? new Date(Math.sign(parsed) * 8.64e15) : parsed;
}

export type PoolOptions = SessionOptions & { max: number; log: Pick<Log, 'warn'> };

/** The default statement timeout: longer than any statement of a handler or of upkeep should take. */
const queryTimeoutMs = 900_000;
/** Connections are replaced after this time. So a new or larger server behind the same name gets its share. */
const lifetimeSeconds = 1_800;

/** @throws UsageError for an invalid address */
export function createPool(databaseUrl: string, { max, log, ...options }: PoolOptions): Db {
  const pool = new pg.Pool({
    ...sessionConfig(databaseUrl, { queryTimeoutMs, ...options }),
    Client: Session as unknown as new () => pg.ClientBase,
    max,
    types,
    connectionTimeoutMillis: options.connectTimeoutMs ?? connectTimeoutMs,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: lifetimeSeconds,
  });
  // If the backend of an idle connection dies, only the log needs to know: the pool replaces it.
  pool.on('error', (error) => pool.ending || log.warn({ err: error }, 'idle database connection lost'));
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

/**
 * One connection outside any pool, for what lasts as long as a session: locks, LISTEN.
 * @throws UsageError for an invalid address
 */
export function createClient(databaseUrl: string, options: SessionOptions = {}): Client {
  return new Session({ ...sessionConfig(databaseUrl, options), types });
}

/**
 * Runs `work` in one transaction: committed when it returns, rolled back when it throws. If the connection is lost
 * meanwhile, it rejects at once, even while `work` waits for something else.
 */
export async function transaction<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  const tx = await db.connect();
  let broken = false;
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  const onEnd = () => lost.reject(new Error('Connection terminated unexpectedly'));
  tx.on('error', lost.reject).on('end', onEnd);
  try {
    await tx.query('begin');
    const result = await Promise.race([work(tx), lost.promise]);
    await tx.query('commit');
    return result;
  } catch (error) {
    await tx.query('rollback').catch(() => (broken = true));
    throw error;
  } finally {
    tx.off('error', lost.reject).off('end', onEnd);
    tx.release(broken);
  }
}

// Deadlock, serialization failure, statement timeout, admin shutdown and crash (57xxx), connection exceptions (08xxx),
// no disk, memory or connection left (53xxx), lock timeout, a standby that is being promoted, a transaction ended
// because of its age (25P03, 25P04); and the errors of sockets and DNS.
const transientState = /^(40P01|40001|57014|57P0\d|08\w{3}|53\w{3}|55P03|25006|25P03|25P04)$/;
const transientSocket = /^(ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/;
const lostConnection =
  /Connection terminated|not queryable|Query read timeout|(timeout expired|connection timeout|timeout exceeded when)/i;

/** Whether Postgres may succeed if asked again. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = codeOf(error) ?? '';
  if (transientState.test(code) || transientSocket.test(code)) return true;
  return lostConnection.test(error.message) || isPoolerFull(error) || isStale(error);
}

/** Whether the server, or a pooler in front of it, has no connection left. */
export const isFull = (error: unknown) => codeOf(error) === '53300' || isPoolerFull(error);

/**
 * Poolers report this in their own words, with XX000 or 08P01. PgBouncer: "no more connections allowed",
 * "query_wait_timeout"; Supavisor: "MaxClientsInSessionMode: max clients reached", "(ECHECKOUTTIMEOUT) unable to check
 * out connection".
 */
function isPoolerFull(error: unknown): boolean {
  if (!/^(XX000|08P01)$/.test(codeOf(error) ?? '')) return false;
  return /max_?\s?clients|no more connections|too many connections|query_wait_timeout|check ?out|pool_size/i.test(
    messageOf(error),
  );
}

/**
 * A statement was prepared before a column changed its type. The connection is ended; a fresh one prepares it again.
 */
export const isStale = (error: unknown) =>
  codeOf(error) === '0A000' && messageOf(error).startsWith('cached plan must not change');

/** Whether a lock was not granted in time. */
export const isLockTimeout = (error: unknown) => codeOf(error) === '55P03';
