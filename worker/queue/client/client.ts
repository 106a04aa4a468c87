import { readAddress, withSchema } from '../../base/address.ts';
import { createPool, type Db } from '../../base/db/db.ts';
import { messageOf, UsageError } from '../../base/errors.ts';
import type { Queryable } from '../../base/db/sql.ts';
import { addJobs, whichOf, type Added } from './add.ts';
import { borrowedPool, borrowedTransaction } from '../../base/db/borrowed.ts';
import { createListening, type Ended } from './listening.ts';
import { InvalidJob, type NewJob } from './new-job.ts';
import { again, cancelJobs, retryJobs, showJob, type Job } from './operate.ts';
import { checkPayload } from '../payload.ts';
import type { InputOf, StandardSchema } from '../schema.ts';
import { createWaits, NotCompleted, type WaitOptions } from './waits.ts';

export { InvalidJob, NotCompleted, UsageError };
export type { Added, Ended, Job };

/** A kind of job: what its file under worker/jobs exports. Only its name and its schema are used. */
export type Kind<Schema extends StandardSchema = StandardSchema> = { name: string; payload: Schema };

/** `file_id`, `run_at` or `delay_ms`, `priority`, `max_retries`, `dedupe_key`. */
export type JobOptions = Omit<NewJob, 'queue' | 'kind' | 'payload'>;

/** `tx`: a client of any pg pool in a transaction of yours. The jobs are there when it commits, and never were if it does not. */
export type In = { tx?: Queryable };

export type ClientOptions = {
  /** A pool of yours for everything but waiting and events, which have a session of their own. Default: one of the client's. */
  pool?: Db;
  /** How many connections the client's own pool may open. Default 5. */
  connections?: number;
  /** Where Rowmill's tables are, as ROWMILL_SCHEMA says. Default: as the address (`?schema=acme`) or the role's search_path says. */
  schema?: string;
};

export type Client = ReturnType<typeof createClient>;

/**
 * Adds jobs from TypeScript, follows them, and changes them.
 * @param address for waiting and events it must be a direct or session-mode connection, as a worker's
 */
export function createClient(address: string, { pool, connections = 5, schema }: ClientOptions = {}) {
  const databaseUrl = withSchema(address, schema);
  const own = pool ? undefined : createPool(databaseUrl, { max: connections, log: { warn() {} } });
  const { schema: place } = readAddress(databaseUrl);
  const db = own ?? borrowedPool(pool!, place);
  const listeners = { completed: new Set<Listener>(), failed: new Set<Listener>(), cancelled: new Set<Listener>() };
  let closing: Promise<void> | undefined;

  const waits = createWaits((ids) => listening.read(ids));
  const listening = createListening({
    databaseUrl,
    wanted: () => waits.any() || Object.values(listeners).some((set) => set.size > 0),
    heard(jobs) {
      waits.look(jobs.map(({ id }) => id));
      // One that throws is the process's uncaught exception, as with an EventEmitter, and no trouble to the others.
      for (const job of jobs) for (const listener of listeners[job.status]) queueMicrotask(() => listener(job));
    },
    look: () => waits.look(),
    gaveUp: waits.rejectAll,
  });

  async function insert(jobs: NewJob[], tx: Queryable | undefined): Promise<Added[]> {
    return tx ? addJobs(borrowedTransaction(tx, place), jobs) : again(() => addJobs(db, jobs));
  }

  async function end(): Promise<void> {
    const reason = new NotCompleted('closed', closedWords);
    waits.rejectAll(reason);
    for (const set of Object.values(listeners)) set.clear();
    await listening.close(reason);
    await own?.end();
  }

  return {
    /**
     * Adds a job. Where its dedupe key is taken nothing is added, `created` is false, and `id` is the job that has it.
     * @throws InvalidJob that names the fields at fault
     */
    async add<Schema extends StandardSchema>(
      kind: Kind<Schema>,
      payload: InputOf<Schema>,
      options: JobOptions = {},
      { tx }: In = {},
    ): Promise<Added> {
      const [added] = await insert([newJob(kind, payload, options, '')], tx);
      return added!;
    },

    /**
     * Adds many jobs of a kind in one insert, all or none; 10,000 a call is a good size. The answer is in their order.
     * @throws InvalidJob that names the first job at fault and its fields
     */
    async addMany<Schema extends StandardSchema>(
      kind: Kind<Schema>,
      jobs: readonly (JobOptions & { payload: InputOf<Schema> })[],
      { tx }: In = {},
    ): Promise<Added[]> {
      return insert(
        jobs.map(({ payload, ...options }, n) => newJob(kind, payload, options, whichOf(n, jobs.length))),
        tx,
      );
    },

    /** Runs jobs again, now and with all their retries. One that is running is left alone: its `done` is false. */
    retry: (ids: number[]) => retryJobs(db, { ids }),

    /** Cancels jobs that have not ended; a running one is told to stop. One that has ended is left alone: its `done` is false. */
    cancel: (ids: number[]) => cancelJobs(db, ids),

    /** A job and why its attempts failed; undefined when there is none of this id. */
    show: (id: number) => showJob(db, id),

    /**
     * The job, once it has completed; a retry on the way is waited for. A job that another transaction has not committed yet is not there.
     * @throws NotCompleted when it failed for good, was cancelled or deleted, or took longer than `timeoutMs`; it carries the job and its
     *   error_code. The signal's reason, when `signal` aborts. Neither ends the job itself: see `cancel`.
     */
    async wait(id: number, options: WaitOptions = {}): Promise<Job> {
      if (closing) throw new NotCompleted('closed', closedWords);
      return waits.wait(id, options);
    },

    /**
     * Calls `listener` for each job of any queue that ends so from now on, once it is committed. Resolves when it listens, with what ends
     * that. While the connection is lost events are lost; they are hints, and the rows are the truth.
     */
    async on(status: Ended['status'], listener: (job: Ended) => void): Promise<() => void> {
      if (closing) throw new NotCompleted('closed', closedWords);
      // A wrapper, for a listener may be given twice.
      const entry: Listener = (job) => listener(job);
      listeners[status].add(entry);
      try {
        await listening.open();
      } catch (error) {
        listeners[status].delete(entry);
        throw error;
      }
      return () => void listeners[status].delete(entry);
    },

    /** Ends the connections. What is still waited for is rejected; the jobs go on. */
    close: () => (closing ??= end()),
  };
}

type Listener = (job: Ended) => void;

const closedWords = 'The client was closed';

function newJob(kind: Kind, payload: unknown, options: JobOptions, which: string): NewJob {
  const [queue = '', name = ''] = kind.name.split('.');
  const stored = storedAs(payload ?? {}, which);
  try {
    checkPayload(kind, stored);
  } catch (error) {
    throw new InvalidJob(`${which}${messageOf(error)}`, { cause: error });
  }
  return { ...options, queue, kind: name, payload: stored };
}

/** As the worker will read it: what JSON makes of a payload, such as a string of a date, must fit too. */
function storedAs(payload: unknown, which: string): unknown {
  try {
    return JSON.parse(JSON.stringify(payload)) as unknown;
  } catch (error) {
    throw new InvalidJob(`${which}payload: ${messageOf(error)}`, { cause: error });
  }
}
