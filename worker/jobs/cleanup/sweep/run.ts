import { z } from 'zod';
import type { App } from '../../../app.ts';
import { isTransient, type Tx } from '../../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { withRetries } from '../../../base/retry.ts';
import { minutes, type JobContext } from '../../../queue/job.ts';
import { inChunk } from './steps.ts';

/**
 * One run of a cleanup: one chunk after another, each in a transaction of its own, within a time budget. cleanup_logs
 * counts each chunk in the same transaction. So a run that was killed continues where it was, and nothing is counted
 * twice or not at all.
 */

const sql = loadStatements(import.meta.dirname, 'run.sql', [
  'forget_dry_run',
  'open_log',
  'count_log',
  'finish_log',
  'continue_job',
  'ensure_deletions_job',
]);

/** The fields that every cleanup has. Strict: with a misspelt `dryRun` the run would delete. */
export const budgetPayload = (kind: string) =>
  z.strictObject({
    type: z.literal(kind).optional(),
    /** Changes nothing, and reports what a run would do. */
    dryRun: z.boolean().optional(),
    /** The time budget. A run that it cuts off adds a job for the rest. */
    seconds: z.int().min(1).max(540).default(60),
  });
export type BudgetPayload = z.infer<ReturnType<typeof budgetPayload>>;

/** And the fields of cleanups that go by age. @param olderThan the default age */
export const cleanupPayload = (kind: string, olderThan: string) =>
  budgetPayload(kind).extend({
    /** What is younger stays. */
    olderThan: z
      .string()
      .regex(/^[1-9]\d{0,4} (hour|day)s?$/, 'must be such as "24 hours" or "30 days"')
      .default(olderThan),
    /** Rows of one transaction. */
    chunk: z.int().min(1).max(10_000).default(1_000),
  });
export type CleanupPayload = z.infer<ReturnType<typeof cleanupPayload>>;

/** More than any budget, and what comes after it. */
export const cleanupTimeout = minutes(15);

export type Counts = {
  scanned: number;
  deleted: number;
  bytes: number;
  skipped: number;
  errors: number;
  generated: number;
  requested: number;
};

/** The result of a run, also written to cleanup_logs. */
export type Report = Counts & { cutoff: string; dryRun: boolean; remaining: boolean };

export type Run<Payload extends BudgetPayload = BudgetPayload> = {
  kind: string;
  logId: number;
  app: App;
  payload: Payload;
  signal: AbortSignal;
  dryRun: boolean;
  cutoff: Date;
  /** False if this attempt continues an earlier one. */
  fresh: boolean;
  progress(percent: number): void;
  /** Adds to the figures, in the transaction that they count. */
  count(tx: Queryable, counts: Partial<Counts>): Promise<void>;
  /** Whether the budget is used up. */
  isOver(): boolean;
};

/** How the work of a run ended. If it was cut off, a job of its own continues it, with `goOn` in its payload. */
export type End = { remaining: boolean; cutOff?: boolean; goOn?: object };

export async function cleanUp<Payload extends BudgetPayload & { olderThan?: string }>(
  context: JobContext<Payload>,
  work: (run: Run<Payload>) => Promise<End>,
  { dryRun = context.payload.dryRun ?? false } = {},
): Promise<Report> {
  const { job, app, payload, signal, commit } = context;
  await query(app.db, sql.forget_dry_run, { job_id: job.id });
  const [log] = await query<{ id: number; cutoff: Date; fresh: boolean }>(app.db, sql.open_log, {
    job_id: job.id,
    kind: job.kind,
    older_than: inHours(payload.olderThan ?? '0 hours'),
    dry_run: dryRun,
  });
  const { id, cutoff, fresh } = log!;
  const {
    remaining,
    cutOff = false,
    goOn = {},
  } = await work({
    kind: job.kind,
    logId: id,
    app,
    payload,
    signal,
    dryRun,
    cutoff,
    fresh,
    progress: context.progress,
    count: async (tx, counts) => void (await query(tx, sql.count_log, { id, ...none, ...counts })),
    isOver: budget(payload.seconds),
  });

  return commit(async (tx) => {
    const [counts] = await query<Counts>(tx, sql.finish_log, { id, remaining });
    if (cutOff) await query(tx, sql.continue_job, { job_id: job.id, queue: job.queue, go_on: JSON.stringify(goOn) });
    if (!dryRun) await query(tx, sql.ensure_deletions_job);
    return { ...counts!, cutoff: cutoff.toISOString(), dryRun, remaining };
  });
}

/** Postgres adds days by the wall clock: with summer time, some have 23 or 25 hours. */
function inHours(age: string): string {
  const [count, unit] = age.split(' ');
  return `${Number(count) * (unit!.startsWith('day') ? 24 : 1)} hours`;
}

/** Returns a function that says whether these seconds have passed. */
export function budget(seconds: number): () => boolean {
  const over = performance.now() + seconds * 1_000;
  return () => performance.now() > over;
}

const none: Counts = { scanned: 0, deleted: 0, bytes: 0, skipped: 0, errors: 0, generated: 0, requested: 0 };

/**
 * Repeats `work`, each time in a transaction of its own, until it returns that nothing is left. A failure because of a
 * lock, or because Postgres was away, is tried again.
 * @returns whether it finished within the budget
 */
export async function inChunks(
  { app, signal, isOver }: Run,
  work: (tx: Tx) => Promise<boolean>,
  within: typeof inChunk = inChunk,
): Promise<boolean> {
  const passing = (error: unknown) => (isTransient(error) && !isOver() ? {} : undefined);
  while (!isOver()) {
    signal.throwIfAborted();
    const chunk = () => within(app.db, work);
    if (!(await withRetries(chunk, passing, signal, { waitMs: 100, longestMs: 100 }))) return true;
  }
  return false;
}
