import { hostname } from 'node:os';
import { byIndex } from '../../base/db/by-index.ts';
import { isLockTimeout, isTransient, isUnsent, type Db, type Tx } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import { bindEach, loadStatements, query, type Statement } from '../../base/db/sql.ts';
import { codeOf, PermanentError } from '../../base/errors.ts';
import type { JobRow } from '../job.ts';
import type { Change } from '../sensitive.ts';
import { coalesce } from './coalesce.ts';
import { storable } from './storable.ts';

export type Attempt = Pick<JobRow, 'id' | 'attempt'>;
type Completion = Attempt & { result: string };
export type Failure = Attempt & { error_code: string; error: string; stack?: string | undefined; permanent: boolean };
type Failed = { id: number; status: 'pending' | 'failed'; retry_count: number };

/** `expired`: it was cancelled instead of started, because its expires_at has passed. */
export type Started = JobRow & { expired: true | null };

export type LedgerOptions = {
  db: Db;
  claims: Db;
  schema: string;
  /** The worker's search_path. */
  path: string;
  queue: string;
  /** The id under which this process is registered: it changes after the process was declared dead. */
  worker: () => string;
  /** Ends all waiting for Postgres. */
  signal: AbortSignal;
};

export const statements = loadStatements(import.meta.dirname, 'ledger.sql', [
  'start_jobs',
  'start_unlocked_jobs',
  'load_payload',
  'refuse_job',
  'started_jobs',
  'hold_job',
  'hold_jobs',
  'complete_jobs',
  'complete_job',
  'completed_by',
  'fail_jobs',
  'snooze_jobs',
  'report_progress',
  'put_off_jobs',
  'seal_jobs',
  'give_back',
  'recorded_attempts',
  'taken_jobs',
]);
const batch = { max: 500, parallel: 2 };
/** Each may be as long as a payload. */
const sealBatch = { max: 50, parallel: 2 };

/**
 * The engine's writes to the rows of one queue, coalesced and fenced. A write to a row that is no longer this attempt's
 * resolves to undefined, or false. A write that ends an attempt is safe to repeat: a second one finds no row in the
 * state that it expects, and changes nothing. So each write is repeated while Postgres is away.
 */
export class Ledger {
  readonly #options: LedgerOptions;
  readonly #sql: typeof statements;

  constructor(options: LedgerOptions) {
    this.#options = options;
    this.#sql = bindEach(statements, { live: `${options.queue}_jobs_live`, schema: options.schema });
    this.complete = this.#coalesced((items, how) => this.#completeAll(items, how));
    this.fail = this.#fenced(this.#sql.fail_jobs, 'failures');
    this.snooze = this.#fenced(this.#sql.snooze_jobs, 'jobs');
    this.putOff = this.#fenced(this.#sql.put_off_jobs, 'jobs');
    this.seal = this.#fenced(this.#sql.seal_jobs, 'jobs', sealBatch);
  }

  /** @param job its result is JSON that Postgres can store. @returns whether it was still ours */
  readonly complete: (job: Completion) => Promise<boolean>;
  /** A retry or a dead letter, as the row's max_retries says. */
  readonly fail: (job: Failure) => Promise<Failed | undefined>;
  /** `too_long`: it has only snoozed for queues.snooze_limit, and is left running so that the caller can fail it. */
  readonly snooze: (
    job: Attempt & { delay_ms: number; bounded: boolean },
  ) => Promise<{ id: number; too_long: boolean } | undefined>;
  /** Back to pending because of an incident, with no retry used. */
  readonly putOff: (job: Attempt & { error_code: string; error: string }) => Promise<{ id: number } | undefined>;
  /** Changes the payload of a running job. */
  readonly seal: (job: Attempt & { changes: Change[] }) => Promise<{ id: number } | undefined>;

  /** Starts those of the jobs that are pending and due, and cancels those that have expired. @returns their rows */
  async start(ids: number[]): Promise<Started[]> {
    const { claims, path } = this.#options;
    const values = { ids: arrayOf(ids), worker: this.#worker };
    try {
      return await query<Started>(claims, this.#sql.start_jobs, { ...values, path });
    } catch (error) {
      if (isLockTimeout(error)) return this.#startUnlocked(ids);
      if (!isTransient(error) && !isUnsent(error)) {
        if (ids.length > 1) throw error;
        return this.#run<Started>(this.#sql.start_unlocked_jobs, { ...values, payloads: false });
      }
      const rows = await this.#startUnlocked(ids);
      const others = await this.#run<Started>(this.#sql.started_jobs, values);
      return [...rows, ...others.filter(({ id }) => !rows.some((row) => row.id === id))];
    }
  }

  // A trigger may wait for another row, such as that of a job's file: then each job is started alone. Those that cannot
  // be started within a second are left to the reconciler.
  async #startUnlocked(ids: number[]): Promise<Started[]> {
    const { signal } = this.#options;
    const values = { ids: arrayOf(ids), worker: this.#worker, payloads: true };
    const start = () => this.#run<Started>(this.#sql.start_unlocked_jobs, values, { waits: false });
    try {
      return await persist(start, signal, isLockTimeout, { tries: ids.length > 1 ? 1 : 5, waitMs: 80 });
    } catch (error) {
      if (signal.aborted || !isLockTimeout(error)) throw error;
      return ids.length > 1 ? (await Promise.all(ids.map((id) => this.#startUnlocked([id])))).flat() : [];
    }
  }

  /** Undefined if the row is no longer this attempt's. @throws PermanentError `payload_too_large` */
  async loadPayload({ id, attempt }: Attempt): Promise<{ payload: unknown } | undefined> {
    const load = this.#run<{ bytes: number; payload: unknown }>(this.#sql.load_payload, { id, attempt });
    const [row] = await load.catch((error: unknown) => {
      // Postgres cannot print a value that takes a gigabyte, or is nested too deeply.
      if (codeOf(error)?.startsWith('54')) return [{ bytes: Infinity, payload: null }];
      throw error;
    });
    if (row && row.bytes > maxPayloadBytes) {
      const size = row.bytes === Infinity ? 'more than Postgres can print' : `${row.bytes} bytes as text`;
      throw new PermanentError(
        'payload_too_large',
        `The payload is ${size}; a worker takes ${maxPayloadBytes} at most`,
      );
    }
    return row && { payload: row.payload };
  }

  /** Makes a dead letter of a job that cannot be started. */
  async refuse(id: number, error: string): Promise<void> {
    const words = error.slice(0, 2_000).replaceAll('\0', '\u{fffd}').toWellFormed();
    await this.#run(this.#sql.refuse_job, { id, error: words });
  }

  /** Locks the row for the rest of a handler's transaction, if it is still this attempt's. */
  async holdIn(tx: Tx, { id, attempt }: Attempt): Promise<boolean> {
    return (await query(tx, this.#sql.hold_job, { id, attempt, worker: this.#worker })).length === 1;
  }

  /** Completes a job that the transaction holds. */
  async completeIn(tx: Tx, job: Completion): Promise<void> {
    await query(tx, this.#sql.complete_job, { ...job, worker: this.#worker });
  }

  /** The same for a batch. @returns the ids of those that it locked */
  async holdManyIn(tx: Tx, jobs: Attempt[]): Promise<Set<number>> {
    const values = { ...columnsOf(jobs), worker: this.#worker };
    const rows = await byIndex(tx, () => query<{ id: number }>(tx, this.#sql.hold_jobs, values));
    return new Set(rows.map(({ id }) => id));
  }

  /** Completes jobs that the transaction holds. */
  async completeManyIn(tx: Tx, jobs: Completion[]): Promise<void> {
    if (jobs.length === 0) return;
    const values = { ...columnsOf(jobs), results: resultsOf(jobs), queue: this.#options.queue, worker: this.#worker };
    await byIndex(tx, () => query(tx, this.#sql.complete_jobs, values));
  }

  /** Whether this attempt completed the job. */
  async completedBy({ id, attempt }: Attempt): Promise<boolean> {
    return (await this.#run(this.#sql.completed_by, { id, queue: this.#options.queue, attempt })).length === 1;
  }

  /** Best effort: a lost report is followed by the next. */
  async progress(jobs: (Attempt & { progress: number })[]): Promise<void> {
    const values = { jobs: storable(jobs), worker: this.#worker };
    await query(this.#options.db, this.#sql.report_progress, values).catch(() => {});
  }

  /** New tickets for jobs that were claimed and not started, unless an incident holds them. */
  async giveBack(ids: number[]): Promise<void> {
    await this.#run(this.#sql.give_back, { ids, host: hostname() });
  }

  /** The attempts that this worker has been running for a while, according to Postgres. */
  recorded(): Promise<Attempt[]> {
    return query<Attempt>(this.#options.db, this.#sql.recorded_attempts, { worker: this.#worker });
  }

  /** Which of the given attempts no longer belong to this worker. */
  taken(attempts: Attempt[]): Promise<Attempt[]> {
    const values = { jobs: storable(attempts), worker: this.#worker };
    return query<Attempt>(this.#options.db, this.#sql.taken_jobs, values);
  }

  get #worker(): string {
    return this.#options.worker();
  }

  async #completeAll(items: Completion[], how: { waits: boolean }): Promise<boolean[]> {
    const { queue } = this.#options;
    const values = { ...columnsOf(items), results: resultsOf(items), queue, worker: this.#worker };
    const [row] = await this.#run<{ some: number[] | null }>(this.#sql.complete_jobs, values, how);
    const some = row!.some && new Set(row!.some);
    return items.map(({ id }) => some === null || some.has(id));
  }

  /** A coalesced write of many items with one statement. */
  #coalesced<Item extends Attempt, Result>(
    write: (items: Item[], how: { waits: boolean }) => Promise<Result[]>,
    size = batch,
  ) {
    // A batch does not wait long for a locked row: then its items go alone.
    return coalesce<Item, Result>((items) => write(items, { waits: items.length === 1 }), size);
  }

  /** A fenced write of a list of jobs, in the order of their ids, so that no two statements wait for each other. */
  #fenced<Row extends { id: number }>(statement: Statement, param: string, size = batch) {
    return this.#coalesced<Attempt, Row | undefined>(async (items, how) => {
      const json = storable(items.toSorted(byId));
      const rows = await this.#run<Row>(statement, { [param]: json, worker: this.#worker }, how);
      const found = new Map(rows.map((row) => [row.id, row]));
      return items.map((item) => found.get(item.id));
    }, size);
  }

  /** Repeats a statement while Postgres is away. */
  #run<Row extends Record<string, unknown>>(
    statement: Statement,
    values: Record<string, unknown>,
    { waits = true } = {},
  ): Promise<Row[]> {
    const { db, signal } = this.#options;
    const passes = (error: unknown) => (isTransient(error) || isUnsent(error)) && (waits || !isLockTimeout(error));
    return persist(() => query<Row>(db, statement, values), signal, passes);
  }
}

/** The same limit as in load_payload. */
const maxPayloadBytes = 64_000_000;

const byId = (a: Attempt, b: Attempt) => a.id - b.id;

/** A Postgres array of numbers. */
const arrayOf = (numbers: number[]) => `{${numbers.join()}}`;

/** One array of ids and one of attempts, in the order of the ids, so that no two statements wait for each other. */
function columnsOf(items: Attempt[]): { ids: string; attempts: string } {
  const jobs = items.toSorted(byId);
  return { ids: arrayOf(jobs.map(({ id }) => id)), attempts: arrayOf(jobs.map(({ attempt }) => attempt)) };
}

/** The results in the same order. */
const resultsOf = (items: Completion[]) =>
  `[${items
    .toSorted(byId)
    .map(({ result }) => result)
    .join()}]`;
