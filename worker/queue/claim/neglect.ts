import type { Db } from '../../base/db/db.ts';
import { bind, loadStatements, query, type Statement } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'neglect.sql', ['unclaimed']);
const neglectMs = 15_000;

export type NeglectOptions = {
  queue: string;
  /** The schema of the tickets. */
  tickets: string;
  db: Db;
  /** Whether this worker could run more jobs, and has none in hand that wait. */
  isIdle: () => boolean;
};

/** Finds out whether jobs of a queue are due that no worker claims, though this one could. */
export class Neglect {
  readonly #options: NeglectOptions;
  readonly #unclaimed: Statement;
  #tookAt = Date.now();
  #found = false;

  constructor(options: NeglectOptions) {
    this.#options = options;
    this.#unclaimed = bind(sql.unclaimed, { tickets: options.tickets });
  }

  /** To be called when a ticket was claimed. */
  took(): void {
    this.#tookAt = Date.now();
  }

  /** Must be called every few seconds. */
  async check(): Promise<void> {
    this.#found = this.#isPossible() && (await this.#isAnyUnclaimed()) && this.#isPossible();
  }

  #isPossible(): boolean {
    return this.#options.isIdle() && Date.now() - this.#tookAt > neglectMs;
  }

  async #isAnyUnclaimed(): Promise<boolean> {
    const { db, queue } = this.#options;
    const [row] = await query<{ found: boolean }>(db, this.#unclaimed, { queue, for_s: neglectMs / 1_000 });
    return row!.found;
  }

  /** What the last check has found, or undefined. */
  trouble(): string | undefined {
    if (!this.#found) return undefined;
    const { queue } = this.#options;
    return `jobs of queue ${queue} have been due for more than ${neglectMs / 1_000} s, and nobody claims them`;
  }
}
