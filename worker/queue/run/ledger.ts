import { hostname } from 'node:os';
import { isLockTimeout, isTransient, isUnsent, type Db, type Tx } from '../../base/db/db.ts';
import { persist } from '../../base/db/persist.ts';
import { codeOf, PermanentError } from '../../base/errors.ts';
import { bind, bindEach, loadStatements, query, type Statement } from '../../base/db/sql.ts';
import type { JobRow } from '../job.ts';
import { coalesce } from './coalesce.ts';

/**
 * The engine's writes to one queue's rows, coalesced and fenced. What ends an attempt is safe to repeat: a second try finds no row
 * in the state it expects and changes nothing. So whatever may well work when asked again is asked again, until `signal` aborts.
 */

export type Attempt = Pick<JobRow, 'id' | 'attempt'>;
type Completion = Attempt & { result: string };
type Failure = Attempt & { error_code: string; error: string; stack?: string | undefined; permanent: boolean };
type Failed = { id: number; status: 'pending' | 'failed'; retry_count: number };

/** What the engine writes; what touches a row that is no longer this attempt's resolves to undefined, or false. */
export type Ledger = {
  /** Starts those of the jobs that are pending and due, and gives their rows. */
  start(ids: number[]): Promise<JobRow[]>;
  /** The payload of a job that was started without it; undefined when the row is no longer this attempt's. @throws PermanentError `payload_too_large` */
  loadPayload(job: Attempt): Promise<{ payload: unknown } | undefined>;
  /** Makes a dead letter of a job that cannot be started. */
  refuse(id: number, error: string): Promise<void>;
  /** @param job its result is JSON that Postgres can store. @returns whether it was still ours */
  complete(job: Completion): Promise<boolean>;
  /** Locks the row for the rest of a handler's transaction, if it is still this attempt's. */
  holdIn(tx: Tx, job: Attempt): Promise<boolean>;
  /** Completes a job that the transaction holds. */
  completeIn(tx: Tx, job: Attempt, result: unknown): Promise<void>;
  /** Whether it was this attempt that completed the job. */
  completedBy(job: Attempt): Promise<boolean>;
  /** A retry or a dead letter, as the row's max_retries says. */
  fail(job: Failure): Promise<Failed | undefined>;
  /** `too_long`: it has only snoozed for queues.snooze_limit, and is left running for the caller to fail. */
  snooze(job: Attempt & { delay_ms: number; bounded: boolean }): Promise<{ id: number; too_long: boolean } | undefined>;
  /** Back to pending because of an incident, with no retry used. */
  putOff(job: Attempt & { error_code: string; error: string }): Promise<{ id: number } | undefined>;
  /** Best effort: a report that is lost is followed by the next. */
  progress(jobs: (Attempt & { progress: number })[]): Promise<void>;
  /** New tickets for jobs that were claimed and not started, as far as no incident holds them. */
  giveBack(ids: number[]): Promise<void>;
  /** Attempts that Postgres says this worker has been running for a while. */
  strays(): Promise<Attempt[]>;
  /** Which of the given attempts this worker no longer runs by right. */
  taken(attempts: Attempt[]): Promise<Attempt[]>;
};

const statements = loadStatements(import.meta.dirname, 'ledger.sql', [
  'start_jobs',
  'start_unlocked_jobs',
  'start_without_payload',
  'load_payload',
  'refuse_job',
  'started_jobs',
  'hold_job',
  'complete_jobs',
  'complete_job',
  'completed_by',
  'fail_jobs',
  'snooze_jobs',
  'report_progress',
  'put_off_jobs',
  'give_back',
  'stray_jobs',
  'taken_jobs',
]);
const batch = { max: 500, parallel: 2 };

/**
 * @param path the worker's search_path
 * @param worker gives the id under which this process is registered now: it changes when the process was declared dead */
export function createLedger(
  { db, claims, schema, path }: { db: Db; claims: Db; schema: string; path: string },
  queue: string,
  worker: () => string,
  signal: AbortSignal,
): Ledger {
  const sql = bindEach(statements, { live: `${queue}_jobs_live`, schema });

  const run = <Row extends Record<string, unknown>>(
    statement: Statement,
    values: Record<string, unknown>,
    { waits = true } = {},
  ): Promise<Row[]> =>
    persist(
      () => query<Row>(db, statement, values),
      signal,
      (error) => (isTransient(error) || isUnsent(error)) && (waits || !isLockTimeout(error)),
    );

  /**
   * Starts what no lock keeps from it. A trigger may wait for another row, such as that of a job's file: then each job is started by itself, and
   * those that cannot be for a second are left to the reconciler.
   */
  async function startUnlocked(ids: number[]): Promise<JobRow[]> {
    const values = { ids: arrayOf(ids), worker: worker() };
    const start = () => run<JobRow>(sql.start_unlocked_jobs, values, { waits: false });
    try {
      return await persist(start, signal, isLockTimeout, { tries: ids.length > 1 ? 1 : 5, waitMs: 80 });
    } catch (error) {
      if (signal.aborted || !isLockTimeout(error)) throw error;
      return ids.length > 1 ? (await Promise.all(ids.map((id) => startUnlocked([id])))).flat() : [];
    }
  }

  /** A coalesced write of many items by one statement. */
  function coalesced<Item extends Attempt, Result>(
    write: (items: Item[], options: { waits: boolean }) => Promise<Result[]>,
  ): (item: Item) => Promise<Result> {
    // A batch does not wait long for one row that somebody holds locked: its items go on alone.
    return coalesce((items) => write(items, { waits: items.length === 1 }), batch);
  }

  /** A fenced write of one parameter, a list of jobs, in the order of their ids: so no two statements wait for each other. */
  function fenced<Row extends { id: number }>(statement: Statement, param: string) {
    return coalesced<Attempt, Row | undefined>(async (items, options) => {
      const json = storable(items.toSorted(byId));
      const rows = await run<Row>(statement, { [param]: json, worker: worker() }, options);
      const found = new Map(rows.map((row) => [row.id, row]));
      return items.map((item) => found.get(item.id));
    });
  }

  const complete = coalesced<Completion, boolean>(async (items, options) => {
    const jobs = items.toSorted(byId);
    const values = {
      ids: arrayOf(jobs.map(({ id }) => id)),
      attempts: arrayOf(jobs.map(({ attempt }) => attempt)),
      results: `[${jobs.map(({ result }) => result).join()}]`,
    };
    const [row] = await run<{ some: number[] | null }>(
      sql.complete_jobs,
      { ...values, queue, worker: worker() },
      options,
    );
    const some = row!.some && new Set(row!.some);
    return items.map(({ id }) => some === null || some.has(id));
  });

  return {
    async start(ids) {
      const values = { ids: arrayOf(ids), worker: worker() };
      try {
        return await query<JobRow>(claims, sql.start_jobs, { ...values, path });
      } catch (error) {
        if (isLockTimeout(error)) return startUnlocked(ids);
        if (!isTransient(error) && !isUnsent(error)) {
          if (ids.length > 1) throw error;
          return run<JobRow>(sql.start_without_payload, values);
        }
        const rows = await startUnlocked(ids);
        return [
          ...rows,
          ...(await run<JobRow>(sql.started_jobs, values)).filter(({ id }) => !rows.some((row) => row.id === id)),
        ];
      }
    },
    loadPayload: ({ id, attempt }) => loadPayload(() => run<Loaded>(sql.load_payload, { id, attempt })),
    async refuse(id, error) {
      await run(sql.refuse_job, { id, error: error.slice(0, 2_000).replaceAll('\0', '\u{fffd}').toWellFormed() });
    },
    complete,
    fail: fenced<Failed>(sql.fail_jobs, 'failures'),
    snooze: fenced<{ id: number; too_long: boolean }>(sql.snooze_jobs, 'jobs'),
    putOff: fenced<{ id: number }>(sql.put_off_jobs, 'jobs'),
    holdIn: async (tx, { id, attempt }) =>
      (await query(tx, sql.hold_job, { id, attempt, worker: worker() })).length === 1,
    async completeIn(tx, { id, attempt }, result) {
      await query(tx, sql.complete_job, { id, attempt, worker: worker(), result: storableResult(result) });
    },
    completedBy: async ({ id, attempt }) => (await run(sql.completed_by, { id, queue, attempt })).length === 1,
    async progress(jobs) {
      await query(db, sql.report_progress, { jobs: storable(jobs), worker: worker() }).catch(() => {});
    },
    async giveBack(ids) {
      await run(sql.give_back, { ids, host: hostname() });
    },
    strays: () => query<Attempt>(db, sql.stray_jobs, { worker: worker() }),
    taken: (attempts) => query<Attempt>(db, sql.taken_jobs, { jobs: storable(attempts), worker: worker() }),
  };
}

type Loaded = { bytes: number; payload: unknown };

async function loadPayload(load: () => Promise<Loaded[]>): Promise<{ payload: unknown } | undefined> {
  const [row] = await load().catch((error: unknown) => {
    // Postgres cannot print what would take a gigabyte, or is nested too deeply.
    if (codeOf(error)?.startsWith('54')) return [{ bytes: Infinity, payload: null }];
    throw error;
  });
  if (row && row.bytes > maxPayloadBytes)
    throw new PermanentError(
      'payload_too_large',
      `The payload is ${row.bytes === Infinity ? 'more than Postgres can print' : `${row.bytes} bytes as text`}; a worker takes ${maxPayloadBytes} at most`,
    );
  return row && { payload: row.payload };
}

/** As load_payload has it. */
const maxPayloadBytes = 64_000_000;

const byId = (a: Attempt, b: Attempt) => a.id - b.id;

/** An array of Postgres, of numbers. */
const arrayOf = (numbers: number[]) => `{${numbers.join()}}`;

// An escaped character of JSON: NUL and lone surrogates, which are what jsonb does not take, and all others.
const escaped = /\\(u0000|ud[89a-f][0-9a-f]{2}|.)/gi;

/** JSON that Postgres can store as jsonb. https://www.postgresql.org/docs/current/datatype-json.html */
function storable(value: unknown): string {
  return JSON.stringify(value ?? null).replace(escaped, (whole, code: string) =>
    code.length > 1 ? '\u{fffd}' : whole,
  );
}

const maxResultBytes = 1_000_000;

/** The result of a job as JSON for its row. @throws PermanentError `result_too_large` */
export function storableResult(value: unknown): string {
  const json = jsonOf(value);
  if (json !== undefined && Buffer.byteLength(json) <= maxResultBytes) return json;
  const size = json === undefined ? 'too long, or too deeply nested, for JSON' : `${Buffer.byteLength(json)} bytes`;
  throw new PermanentError(
    'result_too_large',
    `The result is ${size}, and a row takes ${maxResultBytes}: store it elsewhere, and return where it is`,
  );
}

/** Undefined for what V8 has no room for, in a string or on its stack. */
function jsonOf(value: unknown): string | undefined {
  try {
    return storable(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/**
 * Sends the jobs of a worker that died down the retry path: one that kills its worker each time ends as a dead letter. A job whose file
 * somebody holds locked is left to the reconciler.
 */
export async function failLost(tx: Tx, queue: string, worker: string | null, jobs: Attempt[]): Promise<void> {
  if (jobs.length === 0) return;
  const failures = jobs.map(({ id, attempt }): Failure => {
    return {
      id,
      attempt,
      error_code: 'worker_lost',
      error: 'The worker that ran this job died or lost its database connection',
      permanent: false,
    };
  });
  const statement = bind(statements.fail_jobs, { live: `${queue}_jobs_live` });
  const write = (some: Failure[]) => unlessLocked(tx, () => query(tx, statement, { failures: storable(some), worker }));
  if (!(await write(failures))) for (const failure of failures) await write([failure]);
}

/** @returns false when somebody held a lock for too long: then nothing was done */
async function unlessLocked(tx: Tx, work: () => Promise<unknown>): Promise<boolean> {
  await tx.query('savepoint unless_locked');
  try {
    await work();
    return true;
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
    await tx.query('rollback to savepoint unless_locked');
    return false;
  }
}
