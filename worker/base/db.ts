import pg from 'pg';
import type { Log } from './log.ts';

export type Db = pg.Pool;
export type Tx = pg.PoolClient;
export type Client = pg.Client;

// bigint as a number: ids and counts stay below 2^53.
const types = new pg.TypeOverrides();
types.setTypeParser(20, Number);

export type PoolOptions = { max: number; log: Log; setUp?: string };

/** @param setUp SQL that each new connection runs first, such as a `set` */
export function createPool(databaseUrl: string, { max, log, setUp }: PoolOptions): Db {
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    max,
    types,
    application_name: 'rowmill',
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
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
    connectionTimeoutMillis: 5_000,
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

// Deadlock, serialization failure, admin shutdown and crash (57P0x), connection exceptions (08xxx), too many connections.
const transient = /^(40P01|40001|57P0\d|08\d{3}|53300|ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT)$/;

/** Whether Postgres may well answer if asked again. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return (
    transient.test(code) ||
    /Connection terminated|connection timeout|timeout exceeded when trying to connect/i.test(error.message)
  );
}
