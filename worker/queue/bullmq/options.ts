import { UsageError } from '../../base/errors.ts';
import type { NewJob } from '../client/new-job.ts';
import type { Schedule } from '../schedule/schedules.ts';

/** The options of BullMQ's jobs that are understood. */
export type JobsOptions = {
  /** Milliseconds. */
  delay?: number;
  /** From 0, the most urgent. What is above 32,767 is 32,767. */
  priority?: number;
  /** With the first one. Default: the retries of the queue, and one. */
  attempts?: number;
  /** Not used: how long a retry waits is a setting of the queue, `queues.backoff_ms`. */
  backoff?: number | { type: string; delay?: number };
  /** Becomes the dedupe key. */
  jobId?: string;
  repeat?: RepeatOptions;
  /** Not used: `queues.keep_completed` says how long rows are kept. */
  removeOnComplete?: unknown;
  removeOnFail?: unknown;
};

/** Becomes a schedule. `rowmill schedule list` shows it, `rowmill schedule delete` ends it. */
type RepeatOptions = {
  /** A cron expression of five fields, or of six with seconds. */
  pattern: string;
  /** Default: the zone of this process. */
  tz?: string;
  /** The name of the schedule. Default: `jobId`, or the names of the queue and the job. */
  key?: string;
};

const refused = ['parent', 'deduplication', 'debounce'];

/** @throws UsageError for an option without which the job would be another one */
export function checkOptions(options: JobsOptions): void {
  const strange = refused.find((name) => (options as Record<string, unknown>)[name] !== undefined);
  if (strange) throw new UsageError(`rowmill/bullmq does not have the option ${strange}`);
}

/** The columns of a job. */
export function columnsOf({ delay, priority, attempts, jobId }: JobsOptions): Partial<NewJob> {
  return {
    ...(delay ? { delay_ms: delay } : {}),
    ...(priority === undefined ? {} : { priority: Math.min(priority, 32_767) }),
    ...(attempts === undefined ? {} : { max_retries: Math.max(attempts - 1, 0) }),
    ...(jobId === undefined ? {} : { dedupe_key: jobId }),
  };
}

/** The columns of a schedule. @throws UsageError for what no cron expression says */
export function scheduleOf(
  fallback: string,
  { repeat, jobId, ...options }: JobsOptions,
): Partial<Schedule> & { name: string } {
  const { pattern, tz, key, ...others } = repeat!;
  const strange = Object.keys(others)[0];
  if (!pattern || strange)
    throw new UsageError(
      `repeat.${strange ?? 'pattern'}: a repeated job has a cron expression, such as pattern: '0 3 * * *'`,
    );
  const { priority, max_retries } = columnsOf(options);
  return {
    name: key ?? jobId ?? fallback,
    cron: pattern,
    time_zone: tz ?? new Intl.DateTimeFormat().resolvedOptions().timeZone,
    ...(priority === undefined ? {} : { priority }),
    ...(max_retries === undefined ? {} : { max_retries }),
  };
}
