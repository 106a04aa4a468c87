import { Listening, type Ended } from './listening.ts';
import type { Job } from './operate.ts';
import { NotCompleted, Waits, type WaitOptions } from './waits.ts';

type Listener = (job: Ended) => void;

const closedWords = 'The client was closed';

/** Follows jobs until they have ended: `wait` for one job, `on` for all. */
export class Follower {
  readonly #listeners = {
    completed: new Set<Listener>(),
    failed: new Set<Listener>(),
    cancelled: new Set<Listener>(),
  };
  readonly #waits: Waits;
  readonly #listening: Listening;
  #closed = false;

  constructor(databaseUrl: string) {
    this.#waits = new Waits((ids) => this.#listening.read(ids));
    this.#listening = new Listening({
      databaseUrl,
      wanted: () => this.#waits.any() || Object.values(this.#listeners).some((set) => set.size > 0),
      heard: (jobs) => this.#heard(jobs),
      check: () => this.#waits.check(),
      gaveUp: (error) => this.#waits.rejectAll(error),
    });
  }

  #heard(jobs: Ended[]): void {
    this.#waits.check(jobs.map(({ id }) => id));
    // An error in a listener is an uncaught exception of the process, as with an EventEmitter, and does not affect the
    // others.
    for (const job of jobs) for (const listener of this.#listeners[job.status]) queueMicrotask(() => listener(job));
  }

  async wait(id: number, options?: WaitOptions): Promise<Job> {
    this.#checkOpen();
    return this.#waits.wait(id, options);
  }

  async on(status: Ended['status'], listener: Listener): Promise<() => void> {
    this.#checkOpen();
    const listeners = this.#listeners[status];
    // A wrapper, because the same listener may be added twice.
    const entry: Listener = (job) => listener(job);
    listeners.add(entry);
    try {
      await this.#listening.open();
    } catch (error) {
      listeners.delete(entry);
      throw error;
    }
    return () => void listeners.delete(entry);
  }

  #checkOpen(): void {
    if (this.#closed) throw new NotCompleted('closed', closedWords);
  }

  /** Pending waits reject. */
  async close(): Promise<void> {
    this.#closed = true;
    const reason = new NotCompleted('closed', closedWords);
    this.#waits.rejectAll(reason);
    for (const set of Object.values(this.#listeners)) set.clear();
    await this.#listening.close(reason);
  }
}
