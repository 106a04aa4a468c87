import { readAddress, withSchema } from '../../base/address.ts';
import { createPool, type Db } from '../../base/db/db.ts';
import { messageOf, UsageError } from '../../base/errors.ts';
import type { Queryable } from '../../base/db/sql.ts';
import { Keyring } from '../../base/seal.ts';
import { addJobs, whichOf, type Added } from './add.ts';
import { borrowedPool, borrowedTransaction } from '../../base/db/borrowed.ts';
import { Follower } from './follow.ts';
import type { Ended } from './listening.ts';
import { InvalidJob, type NewJob } from './new-job.ts';
import { again, cancelJobs, retryJobs, showJob, type Change, type Job, type ShownJob } from './operate.ts';
import { checkPayload } from '../payload.ts';
import type { InputOf, StandardSchema } from '../schema.ts';
import { NotCompleted, type WaitOptions } from './waits.ts';

export { InvalidJob, NotCompleted, UsageError };
export type { Added, Ended, Job };

/** A kind of job: what its file exports. Only its name, its schema and where it is sensitive are used. */
export type Kind<Schema extends StandardSchema = StandardSchema> = {
  name: string;
  payload: Schema;
  sensitive?: readonly string[];
};

/** `file_id`, `run_at` or `delay_ms`, `priority`, `max_retries`, `dedupe_key`. */
export type JobOptions = Omit<NewJob, 'queue' | 'kind' | 'payload'>;

/**
 * `tx`: a client of any pg pool, in a transaction of yours. The jobs exist when it commits, and never if it does not.
 */
export type In = { tx?: Queryable };

export type ClientOptions = {
  /**
   * A pool of yours for everything but `wait` and `on`, which have a session of their own. Default: a pool of the
   * client's.
   */
  pool?: Db;
  /** How many connections the client's own pool may open. Default 5. */
  connections?: number;
  /**
   * The schema of Rowmill's tables, as ROWMILL_SCHEMA. Default: as in the address (`?schema=acme`), or the role's
   * search_path.
   */
  schema?: string;
  /**
   * As SEAL_KEYS: sensitive values are sealed here, before the insert. Default: a worker seals them, shortly after it.
   */
  sealKeys?: string;
};

export type Client = {
  /**
   * Adds a job. If its dedupe key is taken, nothing is added, `created` is false, and `id` is the job that has the key.
   * @throws InvalidJob that names the fields at fault
   */
  add<Schema extends StandardSchema>(
    kind: Kind<Schema>,
    payload: InputOf<Schema>,
    options?: JobOptions,
    where?: In,
  ): Promise<Added>;

  /**
   * Adds many jobs of a kind in one insert, all or none; 10,000 per call is a good size. The answer is in their order.
   * @throws InvalidJob that names the first job at fault and its fields
   */
  addMany<Schema extends StandardSchema>(
    kind: Kind<Schema>,
    jobs: readonly (JobOptions & { payload: InputOf<Schema> })[],
    where?: In,
  ): Promise<Added[]>;

  /** Runs jobs again, now and with all their retries. A running job is not changed: its `done` is false. */
  retry(ids: number[]): Promise<Change[]>;

  /**
   * Cancels jobs that have not ended; a running one is told to stop. A job that has ended is not changed: its `done` is
   * false.
   */
  cancel(ids: number[]): Promise<Change[]>;

  /** A job, and why its attempts failed; undefined if there is none with this id. */
  show(id: number): Promise<ShownJob | undefined>;

  /**
   * Resolves with the job when it has completed; it waits for retries, too. A job that another transaction has not
   * committed yet does not exist.
   * @throws NotCompleted if the job failed for good, was cancelled or deleted, or took longer than `timeoutMs`; the
   *   error has the job and its error_code. The signal's reason if `signal` aborts. The job itself goes on: see
   *   `cancel`.
   */
  wait(id: number, options?: WaitOptions): Promise<Job>;

  /**
   * Calls `listener` for each job of any queue that ends with this status from now on, after its commit. Resolves once
   * it listens, with a function that ends that. Events sent while the connection is down are lost: they are hints, and
   * the rows are the truth.
   */
  on(status: Ended['status'], listener: (job: Ended) => void): Promise<() => void>;

  /** Closes the connections. Pending waits reject; the jobs go on. */
  close(): Promise<void>;
};

/**
 * Adds jobs from TypeScript, follows them, and changes them.
 * @param address for `wait` and `on` it must be a direct or session-mode connection, as for a worker
 */
export function createClient(address: string, { pool, connections = 5, schema, sealKeys }: ClientOptions = {}): Client {
  const keyring = sealKeys ? new Keyring(sealKeys) : undefined;
  const databaseUrl = withSchema(address, schema);
  const own = pool ? undefined : createPool(databaseUrl, { max: connections, log: { warn() {} } });
  const { schema: place } = readAddress(databaseUrl);
  const db = own ?? borrowedPool(pool!, place);
  const follower = new Follower(databaseUrl);
  let closing: Promise<void> | undefined;

  async function insert({ sensitive }: Kind, jobs: NewJob[], { tx }: In): Promise<Added[]> {
    const sealer = keyring && { keyring, sensitiveOf: () => sensitive };
    return tx ? addJobs(borrowedTransaction(tx, place), jobs, sealer) : again(() => addJobs(db, jobs, sealer));
  }

  async function close(): Promise<void> {
    await follower.close();
    await own?.end();
  }

  return {
    async add(kind, payload, options = {}, where = {}) {
      const [added] = await insert(kind, [newJob(kind, payload, options, '')], where);
      return added!;
    },
    async addMany(kind, jobs, where = {}) {
      const which = (n: number) => whichOf(n, jobs.length);
      const added = jobs.map(({ payload, ...options }, n) => newJob(kind, payload, options, which(n)));
      return insert(kind, added, where);
    },
    retry: (ids) => retryJobs(db, { ids }),
    cancel: (ids) => cancelJobs(db, ids),
    show: (id) => showJob(db, id),
    wait: (id, options) => follower.wait(id, options),
    on: (status, listener) => follower.on(status, listener),
    close: () => (closing ??= close()),
  };
}

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

/** The worker reads the payload as JSON, such as a date as a string: that must fit the schema, too. */
function storedAs(payload: unknown, which: string): unknown {
  try {
    return JSON.parse(JSON.stringify(payload)) as unknown;
  } catch (error) {
    throw new InvalidJob(`${which}payload: ${messageOf(error)}`, { cause: error });
  }
}
