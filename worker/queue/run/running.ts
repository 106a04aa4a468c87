import type { JobRow } from '../job.ts';
import type { Attempting } from './attempting.ts';
import type { Attempt } from './ledger.ts';
import { Stop } from './stop.ts';

export type Entry = Attempting & {
  key: string;
  /** Called when its outcome is written. */
  settle: () => void;
  /** Resolves when its outcome is written; made when somebody waits for it. */
  ended?: PromiseWithResolvers<void>;
};

/** An entry of workers.waiting. */
export type Waits = { job_id: number; waits_for: string; since: string };

/**
 * The attempts of a queue that are under way in this process. By attempt, not by job: a job that was set back to
 * pending by hand may start again while its last attempt is still stopping.
 */
export class Running {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  /** Undefined if this attempt runs already: two tickets may name one job. */
  enter(row: JobRow, settle: () => void): Entry | undefined {
    const key = keyOf(row);
    if (this.#entries.has(key)) return undefined;
    const entry: Entry = { key, row, settle, stop: new Stop() };
    this.#entries.set(key, entry);
    return entry;
  }

  leave({ key, settle, ended }: Entry): void {
    this.#entries.delete(key);
    settle();
    ended?.resolve();
  }

  has(attempt: Attempt): boolean {
    return this.#entries.has(keyOf(attempt));
  }

  /** All of them, or those of the given attempts that are under way. */
  entries(attempts?: Attempt[]): Entry[] {
    if (!attempts) return [...this.#entries.values()];
    return attempts.flatMap((attempt) => this.#entries.get(keyOf(attempt)) ?? []);
  }

  attempts(): Attempt[] {
    return this.entries().map(({ row: { id, attempt } }) => ({ id, attempt }));
  }

  /** Those that have waited longer than this. */
  waits(ms: number): Waits[] {
    return this.entries().flatMap(({ row, waits }) =>
      waits && Date.now() - waits.since > ms
        ? [{ job_id: row.id, waits_for: waits.for, since: new Date(waits.since).toISOString() }]
        : [],
    );
  }

  /** The progress reported since the last call. */
  takeProgress(): (Attempt & { progress: number })[] {
    return this.entries().flatMap((entry) => {
      const { row, progress } = entry;
      delete entry.progress;
      return progress === undefined ? [] : [{ id: row.id, attempt: row.attempt, progress }];
    });
  }
}

export const endOf = (entry: Entry): Promise<void> => (entry.ended ??= Promise.withResolvers<void>()).promise;

const keyOf = ({ id, attempt }: Attempt) => `${id} ${attempt}`;
