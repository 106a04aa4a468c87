import { EventEmitter } from 'node:events';
import type { Db, Tx } from '../../base/db/db.ts';
import { codeOf, messageOf } from '../../base/errors.ts';

/**
 * The pool for graphile-worker, whose connections cannot LISTEN. graphile-worker would wake every runner of every
 * process for every ticket. Ours are woken for the tickets of their queue only, by the membership's session.
 * graphile-worker asks for its listening connection, and for no other, with a callback.
 */
export function withoutListening(db: Db): Db {
  const dummy = Object.assign(new EventEmitter(), { query: async () => ({ rows: [] }) }) as unknown as Tx;
  const connect = (listener?: (error: undefined, client: Tx, release: () => void) => void) =>
    listener ? listener(undefined, dummy, () => {}) : withoutRetryCode(db.connect().then(withoutRetries));
  return new Proxy(db, {
    get(pool, name) {
      if (name === 'connect') return connect;
      const value: unknown = Reflect.get(pool, name, pool);
      // Called on the proxy, the pool's own `query` would get the dummy client from our `connect`, and wait for ever.
      return typeof value === 'function' ? (value.bind(pool) as unknown) : value;
    },
  });
}

function withoutRetries(client: Tx): Tx {
  const query = (...given: Parameters<Tx['query']>) =>
    withoutRetryCode(client.query(...given) as unknown as Promise<unknown>);
  return new Proxy(client, {
    get: (target, name) => (name === 'query' ? query : (Reflect.get(target, name, target) as unknown)),
  });
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
