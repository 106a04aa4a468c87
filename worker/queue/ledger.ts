import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, type Db, type Tx } from '../base/db.ts';
import { bind, loadStatements, query, type Queryable, type Statement } from '../base/sql.ts';
import { coalesce } from './coalesce.ts';

/**
 * The engine's writes to one queue's rows, coalesced and fenced. All of them are safe to repeat: a second try finds no row in
 * the state it expects and changes nothing. So whatever may well work when asked again is asked again, until `signal` aborts.
 */

export type JobRow = {
  id: number;
  queue: string;
  kind: string;
  payload: unknown;
  file_id: string | null;
  attempt: number;
  retry_count: number;
  max_retries: number;
  created_at: Date;
};
export type Attempt = Pick<JobRow, 'id' | 'attempt'>;
export type Failure = Attempt & { error_code: string; error: string; permanent: boolean };
export type Failed = { id: number; status: 'pending' | 'failed'; retry_count: number; due_in_ms: number };
export type Ledger = ReturnType<typeof createLedger>;

const statements = loadStatements(import.meta.dirname, 'ledger.sql');
const batch = { max: 500 };

/** @param worker gives the id under which this process is registered now: it changes when the process was declared dead */
export function createLedger(db: Db, queue: string, worker: () => string, signal: AbortSignal) {
  const leaf = { live: `${queue}_jobs_live` };
  const on = (statement: Statement) => bind(statement, leaf);
  const sql = {
    start: on(statements['start_jobs']!),
    complete: on(statements['complete_jobs']!),
    completeOne: on(statements['complete_job']!),
    fail: on(statements['fail_jobs']!),
    snooze: on(statements['snooze_jobs']!),
    progress: on(statements['report_progress']!),
    giveBack: on(statements['give_back']!),
    taken: on(statements['taken_jobs']!),
  };

  async function run<Row extends { id: number }>(
    statement: Statement,
    values: Record<string, unknown>,
  ): Promise<Row[]> {
    for (let wait = 50; ; wait = Math.min(wait * 2, 2_000)) {
      try {
        return await query<Row>(db, statement, values);
      } catch (error) {
        if (signal.aborted || !isTransient(error)) throw error;
        await sleep(wait, undefined, { signal }).catch(() => {});
      }
    }
  }

  /** A coalesced, fenced write: resolves to the row it touched, or undefined when the job is no longer ours. */
  const fenced = <Item extends Attempt, Row extends { id: number } = { id: number }>(
    statement: Statement,
    param: string,
  ): ((item: Item) => Promise<Row | undefined>) =>
    coalesce(async (items) => {
      const ordered = items.toSorted((a, b) => a.id - b.id);
      const rows = await run<Row>(statement, { [param]: storable(ordered), worker: worker() });
      const byId = new Map(rows.map((row) => [row.id, row]));
      return items.map((item) => byId.get(item.id));
    }, batch);

  return {
    /** Starts those of the jobs that are pending and due, and gives their rows. */
    start: (ids: number[]) => run<JobRow>(sql.start, { ids: ids.toSorted((a, b) => a - b), worker: worker() }),
    complete: fenced<Attempt & { result: unknown }>(sql.complete, 'jobs'),
    fail: fenced<Failure, Failed>(sql.fail, 'failures'),
    snooze: fenced<Attempt & { delay_ms: number }>(sql.snooze, 'jobs'),

    /** Completes one job within its handler's transaction. @returns false when the job is no longer ours */
    async completeIn(tx: Tx, { id, attempt }: Attempt, result: unknown): Promise<boolean> {
      const rows = await query(tx, sql.completeOne, { id, attempt, worker: worker(), result: storable(result) });
      return rows.length === 1;
    },

    /** Whether it was this attempt that completed the job. */
    completedBy: async ({ id, attempt }: Attempt) =>
      (await run(statements['completed_by']!, { id, queue, attempt })).length === 1,

    /** Best effort: a progress report that is lost is followed by the next. */
    progress: (jobs: (Attempt & { progress: number })[]) =>
      query(db, sql.progress, { jobs: storable(jobs), worker: worker() }).catch(() => {}),

    giveBack: (ids: number[]) => run(sql.giveBack, { ids }),

    /** Which of the given attempts this worker no longer runs by right. */
    taken: (attempts: Attempt[]) => query<Attempt>(db, sql.taken, { jobs: storable(attempts), worker: worker() }),
  };
}

/** JSON that Postgres can store as jsonb: it takes neither NUL nor lone surrogates. https://www.postgresql.org/docs/current/datatype-json.html */
export function storable(value: unknown): string {
  return JSON.stringify(value ?? null, (_, inner: unknown) =>
    typeof inner === 'string' ? inner.replaceAll('\0', '\u{fffd}').toWellFormed() : inner,
  );
}

/** Sends the jobs of a worker that died down the retry path: one that kills its worker each time ends as a dead letter. */
export async function failLost(tx: Queryable, queue: string, worker: string | null, jobs: Attempt[]): Promise<void> {
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
  await query(tx, bind(statements['fail_jobs']!, { live: `${queue}_jobs_live` }), {
    failures: storable(failures),
    worker,
  });
}
