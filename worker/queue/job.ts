import type { z } from 'zod';
import type { App } from '../app.ts';
import type { Tx } from '../base/db.ts';
import type { Log } from '../base/log.ts';
import type { JobRow } from './ledger.ts';

/** What a handler is given for one attempt. */
export type JobContext<Payload> = {
  job: Readonly<JobRow>;
  payload: Payload;
  app: App;
  /** Bound to the job. Never log payloads, addresses or tokens. */
  log: Log;
  /** Fires when the job was cancelled, ran out of time, or the worker stops. Hand it to whatever takes one. */
  signal: AbortSignal;
  /** 0 to 100; written to the row at most once a second. */
  progress(percent: number): void;
  /**
   * Runs `work` in the transaction that marks the job completed with what it returns: both happen or neither does, and only while
   * this attempt still owns the job. `work` may run more than once; it must touch nothing but Postgres.
   */
  commit<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>;
};

export type JobDefinition<Schema extends z.ZodType = z.ZodType> = {
  /** `<queue>.<kind>`, equal to the file's place under worker/jobs. */
  name: string;
  payload: Schema;
  /** Milliseconds an attempt may take. Default five minutes. */
  timeout?: number;
  /**
   * Does the job. What it returns is stored as the row's `result`. It throws PermanentError, Snooze, or anything else, which is
   * retried. It may be executed more than once: a repeat must do no harm.
   */
  run(context: JobContext<z.output<Schema>>): Promise<unknown>;
};

/** Declares a kind of job: the default export of a file under worker/jobs/<queue>/. */
export function job<Schema extends z.ZodType>(definition: JobDefinition<Schema>): JobDefinition<Schema> {
  return definition;
}

export const minutes = (count: number) => count * 60_000;
