/** What a job's row should say, by the drawing in the README: the model that states.test.ts holds the real SQL against. */
export type Model = { jobs: ModelJob[] };

export type ModelJob = {
  id: number;
  status: 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled';
  archived: boolean;
  /** Whether run_at is in the past. */
  due: boolean;
  attempt: number;
  retry_count: number;
  max_retries: number;
  priority: number;
  error_code: string | null;
  /** The attempt that the result says it is of. */
  result: number | null;
  locked_by: string | null;
  /** The code of each failed attempt. */
  errors: Record<number, string>;
};

/** Who wants to end which attempt. */
export type Claim = { attempt: number; worker: string };

export const inserted = (
  id: number,
  { due, max_retries, priority }: Pick<ModelJob, 'due' | 'max_retries' | 'priority'>,
): ModelJob => ({
  id,
  status: 'pending',
  archived: false,
  due,
  attempt: 0,
  retry_count: 0,
  max_retries,
  priority,
  error_code: null,
  result: null,
  locked_by: null,
  errors: {},
});

/** A ticket for the job was claimed. @returns whether it starts */
export function start(job: ModelJob, worker: string): boolean {
  const starts = job.status === 'pending' && job.due;
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
  return true;
}

export function snooze(job: ModelJob, claim: Claim, due: boolean): boolean {
  if (!holds(job, claim)) return false;
  Object.assign(job, { status: 'pending', locked_by: null, due });
  return true;
}

export function setPending(job: ModelJob): void {
  if (job.status !== 'pending') job.result = null;
  Object.assign(job, { status: 'pending', archived: false, locked_by: null });
}

export function cancel(job: ModelJob): void {
  Object.assign(job, { status: 'cancelled', locked_by: null });
}

/** A dead letter that is allowed more retries than it has used runs again at once. */
export function raiseMaxRetries(job: ModelJob, by: number): void {
  job.max_retries += by;
  if (job.status !== 'failed' || job.max_retries <= job.retry_count) return;
  setPending(job);
  job.due = true;
}

export function archive(job: ModelJob): void {
  if (job.status === 'completed' || job.status === 'cancelled') job.archived = true;
}
