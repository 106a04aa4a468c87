/**
 * What a job's row should say, by the drawing in worker/queue/README.md. states.test.ts compares the real SQL with it.
 */
export type Model = { jobs: ModelJob[]; files: Record<string, string> };

export type Status = 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled';

export type ModelJob = {
  id: number;
  queue: string;
  status: Status;
  archived: boolean;
  /** Whether run_at is in the past. */
  due: boolean;
  /** Whether expires_at is in the past. */
  expired: boolean;
  attempt: number;
  retry_count: number;
  max_retries: number;
  priority: number;
  error_code: string | null;
  /** The attempt that the result says it is of. */
  result: number | null;
  locked_by: string | null;
  dedupe_key: string | null;
  file_id: string | null;
  /** The code of each failed attempt. */
  errors: Record<number, string>;
};

/** Who wants to end which attempt. */
export type Claim = { attempt: number; worker: string | null };

export const inserted = (id: number, of: Partial<ModelJob>): ModelJob => ({
  id,
  queue: 'media',
  status: 'pending',
  archived: false,
  due: true,
  expired: false,
  attempt: 0,
  retry_count: 0,
  max_retries: 0,
  priority: 0,
  error_code: null,
  result: null,
  locked_by: null,
  dedupe_key: null,
  file_id: null,
  errors: {},
  ...of,
});

/** A dead letter has used all its retries, however it became one. */
export function spendRetries(job: ModelJob): void {
  if (job.status === 'failed') job.retry_count = Math.max(job.retry_count, job.max_retries);
}

/** What people write as the status: the rest of the row follows. */
export function setStatus(job: ModelJob, status: Status, locked_by: string | null = null): void {
  if (status === 'pending' && job.status !== 'pending') job.result = null;
  Object.assign(job, { status, locked_by: status === 'processing' ? locked_by : null });
  spendRetries(job);
}

/**
 * media.status is the status of the file's latest job that was not cancelled. Without any, what was ready or failed
 * stays so.
 */
export function follow({ jobs, files }: Model, file: string): void {
  const words = { pending: 'PENDING', processing: 'PROCESSING', completed: 'READY', failed: 'FAILED' };
  const latest = jobs.findLast(({ file_id, status }) => file_id === file && status !== 'cancelled')?.status;
  if (latest && latest !== 'cancelled') files[file] = words[latest];
  else if (files[file] === 'PROCESSING') files[file] = 'PENDING';
}

/** A ticket for the job was claimed. @returns whether it starts */
export function start(job: ModelJob, worker: string): boolean {
  const starts = job.status === 'pending' && job.due && !job.expired;
  if (job.status === 'pending' && job.due && job.expired)
    Object.assign(job, { status: 'cancelled', error_code: 'expired' });
  if (starts) Object.assign(job, { status: 'processing', attempt: job.attempt + 1, locked_by: worker });
  return starts;
}

/** The fence: only whoever runs the job, and in this attempt, may end it. */
export const holds = (job: ModelJob, claim: Claim) =>
  job.status === 'processing' && job.attempt === claim.attempt && job.locked_by === claim.worker;

export function complete(job: ModelJob, claim: Claim): boolean {
  if (!holds(job, claim)) return false;
  Object.assign(job, { status: 'completed', result: job.attempt, locked_by: null });
  return true;
}

export function fail(job: ModelJob, claim: Claim, error_code: string, permanent: boolean): boolean {
  if (!holds(job, claim)) return false;
  const again = !permanent && job.retry_count < job.max_retries;
  job.errors[job.attempt] = error_code;
  Object.assign(job, { status: again ? 'pending' : 'failed', error_code, locked_by: null });
  // The backoff is zero here.
  if (again) Object.assign(job, { retry_count: job.retry_count + 1, due: true });
  else spendRetries(job);
  return true;
}

export function snooze(job: ModelJob, claim: Claim, due: boolean): boolean {
  if (!holds(job, claim)) return false;
  Object.assign(job, { status: 'pending', locked_by: null, due });
  return true;
}

/** A dead letter that is allowed more retries than it has used runs again at once. */
export function raiseMaxRetries(job: ModelJob, by: number): void {
  job.max_retries += by;
  if (job.status !== 'failed' || job.max_retries <= job.retry_count) return;
  setStatus(job, 'pending');
  job.due = true;
}

export function archive(job: ModelJob): void {
  if (job.status === 'completed' || job.status === 'cancelled') job.archived = true;
}
