import { messageOf, UsageError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';

/** The columns of a job to add. */
export type NewJob = {
  queue: string;
  kind: string;
  /** Default `{}`. */
  payload?: unknown;
  /** The id of a row of auction_files (publish) or media, of whatever type it is there. */
  file_id?: string | number | bigint;
  /** When it becomes due: a time, or a delay by the database's clock. Default: now. */
  run_at?: Date;
  delay_ms?: number;
  /** A job that has not been started by then ends `cancelled` with error_code `expired`. Default: never. */
  expires_at?: Date;
  /** Smaller starts first. Default 0. */
  priority?: number;
  /** Default: the queue's. */
  max_retries?: number;
  dedupe_key?: string;
  /** The trace that it belongs to: a header traceparent of W3C Trace Context, version 00. */
  traceparent?: string;
};

/** A job cannot be added as it was given. The message names the column, or the key of the payload. */
export class InvalidJob extends UsageError {
  override name = 'InvalidJob';
}

/**
 * The columns as the JSON that add_jobs reads.
 * @param n its index among the jobs that are added together
 * @param reserved its id, if it has one already
 * @throws InvalidJob that names each column at fault
 */
export function jsonOf(job: NewJob, n: number, reserved?: number): string {
  const faults = Object.entries({ ...required, ...job })
    .map(([column, value]) => [column.slice(0, 60), faultOf(column, value)] as const)
    .filter(([, fault]) => fault !== undefined);
  if (faults.length > 0)
    throw new InvalidJob(
      faults
        .slice(0, 10)
        .map((fault) => fault.join(': '))
        .join('; '),
    );
  const { payload, file_id } = job;
  try {
    return JSON.stringify({
      ...job,
      n,
      reserved,
      payload: payload ?? {},
      file_id: file_id === undefined ? null : String(file_id),
    });
  } catch (error) {
    throw new InvalidJob(`payload: ${messageOf(error)}`, { cause: error });
  }
}

function faultOf(column: string, value: unknown): string | undefined {
  if (Object.hasOwn(checks, column)) {
    return value === undefined && !(column in required) ? undefined : checks[column as keyof NewJob](value);
  }
  const meant = nearest(column, Object.keys(checks));
  return `is no column of a new job${meant ? `: is it ${meant}?` : ''}`;
}

const required = { queue: undefined, kind: undefined };

const text = (value: unknown) => {
  if (typeof value !== 'string' || value === '') return 'must be a text that is not empty';
  return value.isWellFormed() && !value.includes('\0') ? undefined : 'Postgres cannot store this text';
};
const integer = (min: number, max: number) => (value: unknown) =>
  Number.isInteger(value) && (value as number) >= min && (value as number) <= max
    ? undefined
    : `must be a whole number from ${min} to ${max}`;

const time = (value: unknown) =>
  value instanceof Date && value.getUTCFullYear() >= 1 && value.getUTCFullYear() <= 9_999
    ? undefined
    : 'must be a Date of the years 1 to 9999';

/** What is wrong with a column's value. */
const checks: Record<keyof NewJob, (value: unknown) => string | undefined> = {
  queue: text,
  kind: text,
  payload: () => undefined,
  file_id: (value) => (typeof value === 'bigint' || Number.isSafeInteger(value) ? undefined : text(value)),
  run_at: time,
  expires_at: time,
  delay_ms: (value) =>
    typeof value === 'number' && value >= 0 && value <= 1e14 ? undefined : 'must be a number from 0 to 1e14',
  priority: integer(-32_768, 32_767),
  max_retries: integer(0, 2_147_483_647),
  dedupe_key: text,
  traceparent: (value) =>
    typeof value === 'string' && isTraceparent(value) ? undefined : 'must be a traceparent of W3C Trace Context',
};

/**
 * Whether it is a header traceparent of version 00.
 * https://www.w3.org/TR/trace-context/#traceparent-header-field-values
 */
export const isTraceparent = (header: string): boolean =>
  /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.test(header);
