import type { App } from '../app.ts';
import type { Tx } from '../base/db/db.ts';
import type { Log } from '../base/log.ts';
import type { OutputOf, StandardSchema } from './schema.ts';

export { DeploymentError, PermanentError, RetryableError, Snooze } from '../base/errors.ts';

/** The row of a job that was started, without the columns that only people read. */
export type JobRow = {
  id: number;
  queue: string;
  kind: string;
  payload: unknown;
  /** The payload is too large to come with the row, and must be loaded. */
  large: boolean;
  file_id: string | null;
  attempt: number;
  retry_count: number;
  max_retries: number;
  /** The trace that it belongs to. */
  traceparent: string | null;
  /** Milliseconds since it was due, or since it was inserted if that was later, by the clock of Postgres. */
  waited_ms: number;
};

/** What a handler is given for one attempt. */
export type JobContext<Payload> = {
  job: Readonly<JobRow>;
  payload: Payload;
  app: App;
  /** Bound to the job. Never log payloads, addresses or tokens. */
  log: Log;
  /** Fires when the job was cancelled, ran out of time, or the worker stops. Pass it to everything that accepts one. */
  signal: AbortSignal;
  /** 0 to 100; written to the row at most once a second. */
  progress(percent: number): void;
  /**
   * Waits for a turn at something shared, such as memory. The time limit does not run meanwhile. After five seconds,
   * the log and the worker's row in `workers` say what the job waits for. `turn` must reject when the signal fires.
   */
  waiting<T>(what: string, turn: Promise<T>): Promise<T>;
  /**
   * Gives up the job's slot, so that another job starts: for long work whose number is bounded by something else. A
   * batch keeps its slot.
   * @throws Snooze if many jobs of the queue have done so: then this job comes back later
   */
  aside(): void;
  /**
   * Runs `work` in the transaction that marks the job completed, with what it returns: both happen or neither does, and
   * only while this attempt still owns the job. `work` may run more than once; it must touch nothing but Postgres.
   */
  commit<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>;
  /**
   * The same, for what is written in the same way by many jobs: those that commit at this moment share a transaction.
   * @param write is given the items of all of them; a function of the module, since jobs that give the same one go
   *   together. If it fails, it runs for each job alone
   */
  commitTogether<Item, Result>(
    write: (tx: Tx, items: Item[]) => Promise<unknown>,
    item: Item,
    result: Result,
  ): Promise<Result>;
  /**
   * Takes a token from the bucket `key`, which the whole fleet shares and which fills at `perSecond`. Waits up to a
   * second for it.
   * @param n that many tokens, as for the messages of a batch: it also waits for as long as so many take to come
   * @throws Snooze if it would take longer: the job comes back when its turn is, and uses no retry
   */
  rateLimit(key: string, perSecond: number, n?: number): Promise<void>;
};

type Common<Schema extends StandardSchema> = {
  /** `<queue>.<kind>`, the same as the file's path. */
  name: string;
  /** Any schema of https://standardschema.dev that answers synchronously, such as one of zod, valibot or arktype. */
  payload: Schema;
  /**
   * How many values a payload may have, at all depths together. Default 10,000; a longer list belongs in a table or in
   * storage.
   */
  maxValues?: number;
  /**
   * Where in the payload sensitive values are, such as `['email.to', 'data']`: an address, a token, a login code. With
   * SEAL_KEYS they are sealed in the row, and `payload` has them in the clear (`job.payload` is what the row had). They
   * are cut out of errors and results, if they have four characters or more and are not one word of small letters. A
   * list is one value. Not for what identifies a job: `dedupe_key` and `file_id` are never sealed.
   */
  sensitive?: readonly string[];
  /** The most milliseconds of an attempt. Default five minutes. */
  timeout?: number;
};

/** Runs one job at a time. */
export type SingleJob<Schema extends StandardSchema = StandardSchema> = Common<Schema> & {
  /**
   * Runs the job. What it returns is stored as the row's `result`. It throws PermanentError, Snooze, or anything else,
   * which is retried. It may be executed more than once: a repeat must do no harm.
   */
  run(context: JobContext<OutputOf<Schema>>): Promise<unknown>;
};

/** What a handler gets for all jobs of a batch together. */
export type BatchContext<Payload> = {
  /**
   * The `commit` of a batch: one transaction for all of its jobs. The transaction locks the rows of the jobs that still
   * belong to the batch, which are in `held`: a job that was cancelled meanwhile is not among them. `work` writes for
   * those, and returns a result, by job id, for each job that is done: these are completed in the same transaction. The
   * others are answered as usual.
   *
   * `work` may run more than once. If it fails for all jobs, it runs for each job alone: a job that fails alone fails
   * with that error, whatever is answered for it. It must touch nothing but Postgres.
   * @returns the results of the completed jobs, by id
   */
  commitMany<Result>(
    work: (tx: Tx, held: JobContext<Payload>[]) => Promise<Map<number, Result>>,
  ): Promise<Map<number, Result>>;
};

/**
 * Runs many jobs with one call: as many as wait when a slot becomes free, and as share a ticket (queues.batch_size).
 */
export type BatchJob<Schema extends StandardSchema = StandardSchema> = Common<Schema> & {
  /** The most jobs of one call; together they take one slot. */
  batchSize: number;
  /**
   * Answers for each job, in their order: an Error is judged as if `run` had thrown it for that job, anything else is
   * its result. What it throws itself holds for all of them. A job that has committed is completed, whatever is
   * answered.
   */
  runBatch(jobs: JobContext<OutputOf<Schema>>[], batch: BatchContext<OutputOf<Schema>>): Promise<unknown[]>;
};

export type JobDefinition<Schema extends StandardSchema = StandardSchema> = SingleJob<Schema> | BatchJob<Schema>;

/** Declares a kind of job: the default export of a file `<queue>/<kind>.ts`. */
export function job<Schema extends StandardSchema>(definition: SingleJob<Schema>): SingleJob<Schema>;
export function job<Schema extends StandardSchema>(definition: BatchJob<Schema>): BatchJob<Schema>;
export function job<Schema extends StandardSchema>(definition: JobDefinition<Schema>): JobDefinition<Schema> {
  return definition;
}

export const seconds = (count: number) => count * 1_000;
export const minutes = (count: number) => count * 60_000;
