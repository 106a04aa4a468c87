import { z } from 'zod';
import { codeOf, messageOf, UsageError } from '../../base/errors.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { again, checkQueue } from './operate.ts';
import { checkPayload } from '../payload.ts';
import { kindOf, type Registry } from '../registry.ts';

/** The one way in for jobs that do not come by plain SQL: from the CLI, by HTTP, by the client. */

const sql = loadStatements(import.meta.dirname, 'add.sql', ['add_jobs', 'jobs_of_keys']);

export type NewJob = {
  queue: string;
  kind: string;
  /** Default `{}`. */
  payload?: unknown;
  /** The id of a row of auction_files (publish) or media, whatever type it has there. */
  file_id?: string | number | bigint;
  /** When it becomes due: a time, or so long from now by the database's clock. Default: now. */
  run_at?: Date;
  delay_ms?: number;
  /** Smaller starts first. Default 0. */
  priority?: number;
  /** Default: the queue's. */
  max_retries?: number;
  dedupe_key?: string;
};

/** `created` is false where the dedupe key was taken: then `id` is the job that has it. */
export type Added = { id: number; created: boolean };

/**
 * Inserts a job of a kind that there is.
 * @throws UsageError for a queue or kind that is not there, a payload that does not fit its kind, a file that is not there
 */
export async function addJob(db: Queryable, registry: Registry, job: NewJob): Promise<Added> {
  await checkQueue(db, job.queue);
  checkFits(registry, job);
  const [added] = await again(() => addJobs(db, [job]));
  return added!;
}

/** @throws UsageError for a kind that is not there, or a payload that does not fit it */
export function checkFits(
  registry: Registry,
  { queue, kind, payload = {} }: Pick<NewJob, 'queue' | 'kind' | 'payload'>,
): void {
  try {
    checkPayload(kindOf(registry, { queue, kind }), payload);
  } catch (error) {
    const kinds = codeOf(error) === 'unknown_kind' ? `; the kinds there are: ${[...registry.keys()].join(', ')}` : '';
    throw new UsageError(`${messageOf(error)}${kinds}`, { cause: error });
  }
}

/**
 * Inserts jobs, whatever their kinds: all in one statement or none. The answer is in the order of `jobs`.
 * @throws UsageError that names the column, and which of several jobs
 */
export async function addJobs(db: Queryable, jobs: NewJob[]): Promise<Added[]> {
  const added: Added[] = [];
  let rest = jobs.map((job, n) => row(job, n, jobs.length));
  while (rest.length > 0) {
    for (const { n, id } of await insert(() => query<Numbered>(db, sql.add_jobs, { jobs: json(rest) })))
      added[n] = { id, created: true };
    rest = rest.filter(({ n }) => !added[n]);
    const keys = rest.map(({ n, queue, dedupe_key }) => ({ n, queue, dedupe_key }));
    if (keys.some(({ dedupe_key }) => dedupe_key === undefined)) throw new Error('A trigger on jobs skipped an insert');
    if (keys.length > 0)
      for (const { n, id } of await query<Numbered>(db, sql.jobs_of_keys, { jobs: JSON.stringify(keys) }))
        added[n] = { id, created: false };
    // Jobs that had a key and were deleted between the two statements: those that they kept out are tried again.
    rest = rest.filter(({ n }) => !added[n]);
  }
  return added;
}

type Numbered = { n: number; id: number };

const text = z
  .string()
  .min(1)
  .refine((value) => value.isWellFormed() && !value.includes('\0'), 'Postgres cannot store this text');
const columns = z.strictObject({
  queue: text,
  kind: text,
  payload: z.unknown(),
  file_id: z.union([text, z.int(), z.bigint()]).transform(String).optional(),
  run_at: z.date().optional(),
  delay_ms: z.number().nonnegative().optional(),
  priority: z.int().min(-32_768).max(32_767).optional(),
  max_retries: z.int().min(0).max(2_147_483_647).optional(),
  dedupe_key: text.optional(),
});

function row(job: NewJob, n: number, of: number): NewJob & { n: number } {
  const parsed = columns.safeParse(job);
  if (parsed.success) return { ...parsed.data, payload: job.payload ?? {}, n } as NewJob & { n: number };
  const faults = parsed.error.issues.map(({ path, message }) => [...path, message].join(': '));
  throw new UsageError(`${whichOf(n, of)}${faults.join('; ')}`);
}

/** How an error of several jobs begins. */
export const whichOf = (n: number, of: number) => (of === 1 ? '' : `job ${n + 1} of ${of}: `);

function json(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    throw new UsageError(`payload: ${messageOf(error)}`, { cause: error });
  }
}

async function insert<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    const detail = error instanceof Error && 'detail' in error ? String(error.detail) : '';
    if (code === '23503')
      throw new UsageError(`file_id: there is no such file, ${/=\((.*?)\)/.exec(detail)?.[1]}`, { cause: error });
    // What check_job and the table of no queue refuse, each with a hint.
    if (code === '23514' && error instanceof Error && 'hint' in error && typeof error.hint === 'string')
      throw new UsageError(`${messageOf(error)}. ${error.hint}`, { cause: error });
    // jsonb takes neither NUL nor lone surrogates. https://www.postgresql.org/docs/current/datatype-json.html
    if (code === '22P05' || code === '22P02') throw new UsageError(`payload: ${messageOf(error)}`, { cause: error });
    throw error;
  }
}
