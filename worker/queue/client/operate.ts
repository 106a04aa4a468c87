import { isTransient } from '../../base/db/db.ts';
import { codeOf, UsageError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { withRetries } from '../../base/retry.ts';

/** What people do with jobs and queues, from the command line and the client. add.ts adds jobs. */

const sql = loadStatements(import.meta.dirname, 'operate.sql', [
  'queue_names',
  'list_jobs',
  'show_job',
  'errors_of_job',
  'retry_jobs',
  'retry_failed',
  'cancel_jobs',
  'reschedule_jobs',
  'prioritise_jobs',
  'set_paused',
  'fleet_queues',
  'fleet_workers',
  'fleet_dead_letters',
  'fleet_incidents',
  'fleet_schedules',
]);

export const statuses = ['pending', 'processing', 'completed', 'failed', 'cancelled'] as const;
export type Status = (typeof statuses)[number];

export type Job = {
  id: number;
  queue: string;
  kind: string;
  status: Status;
  priority: number;
  attempt: number;
  retry_count: number;
  max_retries: number;
  run_at: Date;
  created_at: Date;
  started_at: Date | null;
  snoozed_since: Date | null;
  completed_at: Date | null;
  progress: number | null;
  error_code: string | null;
  error: string | null;
  file_id: string | null;
  dedupe_key: string | null;
  traceparent: string | null;
  locked_by: string | null;
  archived: boolean;
  payload: unknown;
  result: unknown;
};
export type JobFilter = { queue?: string; kind?: string; status?: Status; error_code?: string };

/** @throws UsageError that names the existing queues */
export async function checkQueue(db: Queryable, queue: string): Promise<void> {
  const names = await queueNames(db);
  if (!names.includes(queue)) throw new UsageError(`There is no queue ${queue}: there are ${names.join(', ')}`);
}

export async function queueNames(db: Queryable): Promise<string[]> {
  return (await query<{ name: string }>(db, sql.queue_names)).map(({ name }) => name);
}

/** The newest first. @throws UsageError for an unknown queue */
export async function listJobs(db: Queryable, filter: JobFilter & { limit: number }): Promise<Job[]> {
  if (filter.queue !== undefined) await checkQueue(db, filter.queue);
  const { queue = null, kind = null, status = null, error_code = null, limit } = filter;
  return query<Job>(db, sql.list_jobs, { queue, kind, status, error_code, limit });
}

export type JobError = {
  attempt: number;
  worker: string | null;
  started_at: Date | null;
  failed_at: Date;
  error_code: string;
  error: string;
  /** Where in the code an unforeseen error arose. */
  stack: string | null;
};

/** What the catalogue of errors says about a code; null for an unknown one. */
type Explained = { cause: string | null; solution: string | null };
type Shown = Job & Explained & { waits: string | null };
export type ShownJob = Shown & { errors: JobError[] };

/** A job, and why its attempts failed; undefined if there is none with this id. */
export async function showJob(db: Queryable, id: number): Promise<ShownJob | undefined> {
  const [job] = await query<Shown>(db, sql.show_job, { id });
  return job && { ...job, errors: await query<JobError>(db, sql.errors_of_job, { id }) };
}

/** `done` is false if the job's status, `was`, does not allow the change: then the job is as before. */
export type Change = { id: number; queue: string; kind: string; was: Status; done: boolean };

/**
 * Makes jobs pending and due now, with all their retries: by their ids, in any status but `processing`; or all failed
 * ones of a queue. An id that is not in the answer is no job's.
 * @throws UsageError for an unknown queue
 */
export async function retryJobs(
  db: Queryable,
  which: { ids: number[] } | { queue: string; kind?: string; error_code?: string },
): Promise<Change[]> {
  if ('ids' in which) return again(() => query<Change>(db, sql.retry_jobs, { ids: which.ids }));
  const { queue, kind = null, error_code = null } = which;
  await checkQueue(db, queue);
  return again(() => query<Change>(db, sql.retry_failed, { queue, kind, error_code }));
}

/** Cancels jobs that have not ended; a running one is told to stop. An id that is not in the answer is no job's. */
export async function cancelJobs(db: Queryable, ids: number[]): Promise<Change[]> {
  return again(() => query<Change>(db, sql.cancel_jobs, { ids }));
}

/** Moves pending jobs to another time. An id that is not in the answer is no job's. */
export async function rescheduleJobs(db: Queryable, ids: number[], run_at: Date): Promise<Change[]> {
  return again(() => query<Change>(db, sql.reschedule_jobs, { ids, run_at }));
}

/** Gives pending jobs another priority: smaller starts first. An id that is not in the answer is no job's. */
export async function prioritiseJobs(db: Queryable, ids: number[], priority: number): Promise<Change[]> {
  return again(() => query<Change>(db, sql.prioritise_jobs, { ids, priority }));
}

export type Paused = { queue: string; paused: boolean; waiting: number; active: number };

/** Takes effect within two seconds. @param by who, for others to read. @throws UsageError for an unknown queue */
export async function setPaused(db: Queryable, queue: string, paused: boolean, by?: string): Promise<Paused> {
  await checkQueue(db, queue);
  const [row] = await query<Paused>(db, sql.set_paused, { queue, paused, by: by?.slice(0, 200) ?? null });
  return row!;
}

/** A schedule whose tick has not come for so many seconds is late. While a worker runs, it comes within one. */
export const lateS = 5;

export type FleetQueue = {
  queue: string;
  paused: boolean;
  waiting: number;
  active: number;
  delayed: number;
  failed: number;
  completed: number;
  /** How long the oldest due job has waited. Of a large queue, this and the numbers are some seconds old. */
  oldest_waiting_s: number | null;
  /** In the last `lately_s` seconds; workers write it every five seconds. */
  completed_lately: number;
};
export type FleetWorker = {
  id: string;
  host: string;
  pid: number;
  version: string;
  queues: string[];
  started_at: Date;
  heartbeat_age_s: number;
  alive: boolean;
  /** These two as of its heartbeat; null before the first. */
  memory_bytes: number | null;
  running: number | null;
  /** Its jobs that wait for a turn, such as for memory. */
  waiting: { job_id: number; waits_for: string; since: string }[];
  bridges: { bridge: string; connected: boolean; since: string; reason?: string }[];
};
export type DeadLetters = Explained & {
  queue: string;
  kind: string;
  error_code: string | null;
  jobs: number;
  last_at: Date;
};
/** An enabled schedule that adds nothing, and why. `error` is null if it is only late: its tick came at `since`. */
export type FailingSchedule = { name: string; error: string | null; since: Date };
export type FleetIncident = Explained & {
  id: string;
  dependency: string;
  host: string | null;
  code: string;
  message: string;
  since: Date;
  last_seen: Date;
  kinds: string[];
  age_s: number;
  jobs_held: number;
};
export type FleetStatus = {
  lately_s: number;
  incidents: FleetIncident[];
  queues: FleetQueue[];
  workers: FleetWorker[];
  dead_letters: DeadLetters[];
  failing_schedules: FailingSchedule[];
};

/** What there is to do, which workers do it, and what waits for a person. Its time does not grow with the history. */
export async function fleetStatus(db: Queryable): Promise<FleetStatus> {
  const lately_s = 300;
  return {
    lately_s,
    incidents: await query<FleetIncident>(db, sql.fleet_incidents),
    queues: await query<FleetQueue>(db, sql.fleet_queues, { lately_s }),
    workers: await query<FleetWorker>(db, sql.fleet_workers),
    dead_letters: await query<DeadLetters>(db, sql.fleet_dead_letters),
    failing_schedules: await query<FailingSchedule>(db, sql.fleet_schedules, { late_s: lateS }),
  };
}

/**
 * Tries again after a conflict: Postgres refuses to change a row that the archiver moves at the same instant; the
 * second try finds it in its new place. Not inside the caller's transaction, which such an error has aborted.
 */
export async function again<T>(work: () => Promise<T>): Promise<T> {
  return withRetries(work, (error) => (isConflict(error) ? {} : undefined), undefined, { tries: 5, waitMs: 0 });
}

const isConflict = (error: unknown) => isTransient(error) && codeOf(error)?.startsWith('40');
