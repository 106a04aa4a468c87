import { EventEmitter } from 'node:events';
import type { Db, Tx } from '../../base/db/db.ts';
import { bind, loadStatements, query as ask, type Statement } from '../../base/db/sql.ts';
import { codeOf, messageOf } from '../../base/errors.ts';

const sql = loadStatements(import.meta.dirname, 'graphile-pool.sql', ['claim_ticket']);

/**
 * The pool for graphile-worker. It claims by our statement (graphile-pool.sql), and cannot LISTEN: it would wake every
 * runner of every process for every ticket. Ours are woken for the tickets of their queue only, by the membership's
 * session. graphile-worker asks for its listening connection, and for no other, with a callback.
 * @param schema of the tickets
 */
export function graphilePool(db: Db, schema: string): Db {
  const claim = bind(sql.claim_ticket, { tickets: schema });
  const dummy = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) }) as unknown as Tx;
  const connect = (listener?: (error: undefined, client: Tx, release: () => void) => void) =>
    listener
      ? listener(undefined, dummy, () => {})
      : withoutRetryCode(db.connect().then((client) => clientOf(client, claim)));
  return new Proxy(db, {
    get(pool, name) {
      if (name === 'connect') return connect;
      const value: unknown = Reflect.get(pool, name, pool);
      // Called on the proxy, the pool's own `query` would get the dummy client from our `connect`, and wait for ever.
      return typeof value === 'function' ? (value.bind(pool) as unknown) : value;
    },
  });
}

function clientOf(client: Tx, claim: Statement): Tx {
  const run = async (...given: Parameters<Tx['query']>): Promise<unknown> => {
    const [pool, task] = claimedBy(given[0]) ?? [];
    return pool ? { rows: await ask(client, claim, { pool, task }) } : client.query(...given);
  };
  const query = (...given: Parameters<Tx['query']>) => withoutRetryCode(run(...given));
  return new Proxy(client, {
    get: (target, name) => (name === 'query' ? query : (Reflect.get(target, name, target) as unknown)),
  });
}

/** The pool and the task of a statement of graphile-worker's that claims one ticket of one task (its getJobs.ts). */
function claimedBy(statement: unknown): [pool: string, task: number] | undefined {
  const { name, values } = statement as { name?: string; values?: [string, number[]] };
  if (!name?.startsWith('get_job/') || !values) return undefined;
  const [pool, tasks] = values;
  return tasks.length === 1 ? [pool, tasks[0]!] : undefined;
}

/**
 * Strips the code from these errors. With it, graphile-worker retries a hundred times and sleeps 3 s to 2 min in
 * between, so nothing is claimed for so long after Postgres is back. Without it, graphile-worker gives up, and its
 * runner is started again within a second. https://github.com/graphile/worker/blob/main/src/lib.ts (RETRYABLE_ERRORS)
 */
async function withoutRetryCode<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!['57P03', 'EHOSTUNREACH', 'ETIMEDOUT'].includes(codeOf(error) ?? '')) throw error;
    throw new Error(messageOf(error), { cause: error });
  }
}
