import { isTransient } from '../../base/db/db.ts';
import type { Job } from './operate.ts';

/** Why a wait has no result. */
export class NotCompleted extends Error {
  override name = 'NotCompleted';
  /** `closed`: the client was closed. After `timeout` and `closed`, the job itself goes on. */
  readonly because: 'failed' | 'cancelled' | 'deleted' | 'timeout' | 'closed';
  /** The error_code of a failed job. */
  readonly error_code: string | undefined;
  /** The job that failed or was cancelled. */
  readonly job: Job | undefined;
  constructor(because: NotCompleted['because'], message: string, job?: Job) {
    super(message);
    this.because = because;
    this.error_code = job?.error_code ?? undefined;
    this.job = job;
  }
}

export type WaitOptions = {
  /** Default: none, it waits until the job ends. */
  timeoutMs?: number;
  signal?: AbortSignal;
};

type Wait = PromiseWithResolvers<Job>;

const jobsAQuery = 500;

/** The waits for jobs. All jobs that are asked for in the meantime are read with one query. */
export class Waits {
  readonly #read: (ids: number[]) => Promise<Job[]>;
  readonly #waits = new Map<number, Set<Wait>>();
  readonly #asked = new Set<number>();
  #reading = false;

  /** @param read returns the rows of some jobs */
  constructor(read: (ids: number[]) => Promise<Job[]>) {
    this.#read = read;
  }

  /**
   * Resolves with the job when it has completed.
   * @throws NotCompleted if it will not, or not in time; the reason of an aborted signal
   */
  async wait(id: number, { timeoutMs, signal }: WaitOptions = {}): Promise<Job> {
    signal?.throwIfAborted();
    const entry = Promise.withResolvers<Job>();
    const abort = () => entry.reject(signal!.reason);
    signal?.addEventListener('abort', abort, { once: true });
    const late = () => entry.reject(new NotCompleted('timeout', `Job ${id} has not ended within ${timeoutMs} ms`));
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    this.#waits.set(id, (this.#waits.get(id) ?? new Set()).add(entry));
    this.check([id]);
    try {
      return await entry.promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      const others = this.#waits.get(id);
      others?.delete(entry);
      if (others?.size === 0) this.#waits.delete(id);
    }
  }

  /** Reads whether jobs that are waited for have ended: these, or all. */
  check(ids: Iterable<number> = this.#waits.keys()): void {
    for (const id of ids) if (this.#waits.has(id)) this.#asked.add(id);
    if (!this.#reading) void this.#readAsked();
  }

  async #readAsked(): Promise<void> {
    this.#reading = true;
    // All that is asked for in this turn of the event loop is read together.
    await Promise.resolve();
    while (this.#asked.size > 0) {
      const ids = [...this.#asked].slice(0, jobsAQuery);
      for (const id of ids) this.#asked.delete(id);
      try {
        const jobs = new Map((await this.#read(ids)).map((job) => [job.id, job]));
        for (const id of ids) this.#settle(id, jobs.get(id));
      } catch (error) {
        // When Postgres is back, all are read again.
        if (!isTransient(error)) for (const id of ids) this.#reject(id, error);
      }
    }
    this.#reading = false;
  }

  #settle(id: number, job: Job | undefined): void {
    if (!job) this.#reject(id, new NotCompleted('deleted', `There is no job ${id}`));
    else if (job.status === 'completed') for (const entry of this.#waits.get(id) ?? []) entry.resolve(job);
    else if (job.status === 'failed')
      this.#reject(id, new NotCompleted('failed', `Job ${id} failed: ${job.error_code}: ${job.error}`, job));
    else if (job.status === 'cancelled')
      this.#reject(id, new NotCompleted('cancelled', `Job ${id} was cancelled`, job));
  }

  #reject(id: number, error: unknown): void {
    for (const entry of this.#waits.get(id) ?? []) entry.reject(error);
  }

  rejectAll(error: unknown): void {
    for (const id of this.#waits.keys()) this.#reject(id, error);
  }

  any(): boolean {
    return this.#waits.size > 0;
  }
}
