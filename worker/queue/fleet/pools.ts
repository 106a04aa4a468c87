import type { Db } from '../../base/db/db.ts';
import type { Names } from '../../base/db/names.ts';
import { persist } from '../../base/db/persist.ts';
import { bind, loadStatements, query, type Queryable } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'pools.sql', ['add_pool', 'drop_pool', 'unlock_tickets']);

/** The graphile-worker pools of this worker, on its row in `workers`: if it dies, their tickets are unlocked. */
export class Pools {
  readonly #db: Db;
  readonly #names: Names;
  readonly #worker: () => string;
  readonly #leaving: AbortSignal;

  constructor({ db, names }: { db: Db; names: Names }, worker: () => string, leaving: AbortSignal) {
    this.#db = db;
    this.#names = names;
    this.#worker = worker;
    this.#leaving = leaving;
  }

  async add(pool: string): Promise<void> {
    await query(this.#db, sql.add_pool, { id: this.#worker(), pool });
  }

  /** Retries until Postgres has answered: while we live, nobody else unlocks the tickets of a known pool. */
  async drop(pool: string, queue: string): Promise<void> {
    await persist(async () => {
      await unlockTickets(this.#db, this.#names, { pools: [pool], queues: [queue] });
      await query(this.#db, sql.drop_pool, { id: this.#worker(), pool });
    }, this.#leaving);
  }
}

/** Unlocks the tickets that pools hold, and tells the workers of their queues to claim them. */
export async function unlockTickets(
  on: Queryable,
  { tickets, workers }: Names,
  of: { pools: string[]; queues: string[] },
): Promise<void> {
  await query(on, bind(sql.unlock_tickets, { tickets }), { channel: workers, pools: of.pools, queues: of.queues });
}
