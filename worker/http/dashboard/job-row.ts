import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import type { Job } from '../../queue/client/operate.ts';

// What the page of a job reads.

const sql = loadStatements(import.meta.dirname, 'job-row.sql', ['job_row', 'job_attempts', 'job_json', 'explain_code']);

export type JobRow = Omit<Job, 'payload' | 'result'> & {
  expires_at: Date | null;
  worker: string | null;
  waits: string | null;
};

type Explained = { cause: string | null; solution: string | null };

export type Attempt = Explained & {
  attempt: number;
  worker: string | null;
  host: string | null;
  started_at: Date | null;
  failed_at: Date;
  error_code: string;
  error: string;
  stack: string | null;
};

/** A job with its failed attempts, the first of them first; undefined if there is none with this id. */
export async function readJob(db: Queryable, id: number) {
  const [job] = await query<JobRow>(db, sql.job_row, { id });
  if (!job) return undefined;
  const attempts = await query<Attempt>(db, sql.job_attempts, { id });
  const [explained] = job.error_code ? await query<Explained>(db, sql.explain_code, { code: job.error_code }) : [];
  return { job, attempts: attempts.toReversed(), explained };
}
export type ReadJob = NonNullable<Awaited<ReturnType<typeof readJob>>>;

/** As JSON, in the digits that Postgres has; null if it is larger than a page should load. */
export type JobJson = {
  payload_bytes: number;
  result_bytes: number | null;
  payload: string | null;
  result: string | null;
};

const mostBytes = 4_000_000;

export async function readJson(db: Queryable, id: number): Promise<JobJson | undefined> {
  return (await query<JobJson>(db, sql.job_json, { id, most: mostBytes }))[0];
}
