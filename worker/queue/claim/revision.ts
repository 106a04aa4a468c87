import type { Names } from '../../base/db/names.ts';
import { bind, loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { paced } from '../../base/paced.ts';

const sql = loadStatements(import.meta.dirname, 'revision.sql', ['tickets_revision']);

/** Notices that a newer graphile-worker has changed the tables of tickets. */
export class TicketsRevision {
  readonly #read: () => Promise<number>;
  readonly #onChange: () => void;
  #known = 0;

  constructor(db: Queryable, names: Names, onChange: () => void) {
    const statement = bind(sql.tickets_revision, names);
    this.#read = async () => (await query<{ id: number }>(db, statement))[0]!.id;
    this.#onChange = onChange;
  }

  /** To be called before the runners start. */
  async begin(): Promise<void> {
    this.#known = await this.#read();
  }

  /**
   * To be called when a notification says so. Anybody who may connect can send it, so it is checked, at most once a
   * second.
   */
  readonly check = paced(1_000, async () => {
    const now = await this.#read();
    if (now === this.#known) return;
    this.#known = now;
    this.#onChange();
  });
}
