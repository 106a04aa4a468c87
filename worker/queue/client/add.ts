import type { Tx } from '../../base/db/db.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import type { Keyring } from '../../base/seal.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { InvalidJob, jsonOf, type NewJob } from './new-job.ts';
import { again, checkQueue } from './operate.ts';
import { checkPayload } from '../payload.ts';
import { kindOf } from '../accept.ts';
import type { Registry } from '../registry.ts';
import { sealed } from '../sensitive.ts';

/** The one way in for jobs that are not inserted with plain SQL: from the command line and the client. */

const sql = loadStatements(import.meta.dirname, 'add.sql', ['reserve_ids', 'add_jobs', 'jobs_of_keys']);

/** `created` is false if the dedupe key was taken: then `id` is the job that has it. */
export type Added = { id: number; created: boolean };

/** What seals the sensitive values of new jobs. */
export type Sealer = { keyring: Keyring; sensitiveOf(job: NewJob): readonly string[] | undefined };

/** Seals what the kinds of a registry name; undefined without keys. */
export const sealerOf = (registry: Registry, keyring: Keyring | undefined): Sealer | undefined =>
  keyring && { keyring, sensitiveOf: ({ queue, kind }) => registry.get(`${queue}.${kind}`)?.sensitive };

/**
 * Inserts a job of a known kind.
 * @param keyring seals its sensitive values
 * @throws UsageError for an unknown queue; InvalidJob for an unknown kind or file, or a payload that does not fit its
 *   kind
 */
export async function addJob(db: Queryable, registry: Registry, job: NewJob, keyring?: Keyring): Promise<Added> {
  await checkQueue(db, job.queue);
  checkFits(registry, job);
  const [added] = await again(() => addJobs(db, [job], sealerOf(registry, keyring)));
  return added!;
}

/** @throws InvalidJob for an unknown kind, or a payload that does not fit it */
export function checkFits(
  registry: Registry,
  { queue, kind, payload = {} }: Pick<NewJob, 'queue' | 'kind' | 'payload'>,
): void {
  try {
    checkPayload(kindOf(registry, { queue, kind }), payload);
  } catch (error) {
    const kinds = codeOf(error) === 'unknown_kind' ? `; the kinds there are: ${[...registry.keys()].join(', ')}` : '';
    throw new InvalidJob(`${messageOf(error)}${kinds}`, { cause: error });
  }
}

/**
 * Inserts jobs of any kinds, all in one statement or none. The answer is in the order of `jobs`.
 * @throws InvalidJob that names the column, and which of several jobs
 */
export async function addJobs(db: Queryable, jobs: readonly NewJob[], sealer?: Sealer): Promise<Added[]> {
  const seal = await sealing(db, jobs, sealer);
  const rows = jobs.map((job, n) => rowOf(seal(job, n), n, whichOf(n, jobs.length)));
  const added = await insertRows(db, rows);
  return rows.map(({ n }) => added.get(n)!);
}

/**
 * Inserts jobs, all in one statement, if the dedupe keys of all of them are free. Otherwise it is undefined, and none
 * is inserted.
 * @throws as addJobs does
 */
export async function addNewJobs(
  db: Queryable,
  jobs: readonly NewJob[],
  sealer?: Sealer,
): Promise<Added[] | undefined> {
  const seal = await sealing(db, jobs, sealer);
  const rows = jobs.map((job, n) => rowOf(seal(job, n), n, whichOf(n, jobs.length)));
  try {
    const added = await insert(db, rows, { all_new: true });
    return added.toSorted((a, b) => a.n - b.n).map(({ id }) => ({ id, created: true }));
  } catch (error) {
    if (error instanceof InvalidJob && codeOf(error.cause) === divisionByZero) return undefined;
    throw error;
  }
}

const divisionByZero = '22012';

/**
 * Inserts jobs that come from elsewhere, independently of each other: one that cannot be added is refused, and the
 * others exist when `tx` commits. Kinds and payloads are not checked: a worker does that.
 * @returns the outcome of each job, in the order of `jobs`
 */
export async function addEach(tx: Tx, jobs: readonly NewJob[], sealer?: Sealer): Promise<(Added | InvalidJob)[]> {
  const seal = await sealing(tx, jobs, sealer);
  const outcomes: (Added | InvalidJob)[] = [];
  const rows: Row[] = [];
  for (const [n, job] of jobs.entries())
    try {
      rows.push(rowOf(seal(job, n), n));
    } catch (error) {
      if (!(error instanceof InvalidJob)) throw error;
      outcomes[n] = error;
    }
  if (rows.length > 0) await insertEach(tx, rows, outcomes);
  return outcomes;
}

/** An error of Postgres does not say which row it refused: each half is tried alone, until one row is left. */
async function insertEach(tx: Tx, rows: Row[], outcomes: (Added | InvalidJob)[]): Promise<void> {
  await tx.query('savepoint add_each');
  try {
    for (const [n, added] of await insertRows(tx, rows)) outcomes[n] = added;
    await tx.query('release add_each');
    return;
  } catch (error) {
    if (!(error instanceof InvalidJob)) throw error;
    await tx.query('rollback to add_each; release add_each');
    if (rows.length === 1) {
      outcomes[rows[0]!.n] = error;
      return;
    }
  }
  const half = Math.ceil(rows.length / 2);
  await insertEach(tx, rows.slice(0, half), outcomes);
  await insertEach(tx, rows.slice(half), outcomes);
}

/** `reserved`: its id, if its payload is sealed for it. */
type ReadyJob = { job: NewJob; reserved?: number };

/** Reserves an id for each job, if some have sensitive values. @returns what seals each of them */
async function sealing(
  db: Queryable,
  jobs: readonly NewJob[],
  sealer: Sealer | undefined,
): Promise<(job: NewJob, n: number) => ReadyJob> {
  if (!sealer || !jobs.some((job) => sealer.sensitiveOf(job))) return (job) => ({ job });
  const ids = await query<{ id: number }>(db, sql.reserve_ids, { jobs: jobs.length });
  return (job, n) => {
    const { id } = ids[n]!;
    const paths = sealer.sensitiveOf(job) ?? [];
    try {
      const payload = sealed(job.payload, paths, { id, queue: job.queue }, sealer.keyring);
      return { job: { ...job, payload }, reserved: id };
    } catch (error) {
      throw new InvalidJob(`payload: ${messageOf(error)}`, { cause: error });
    }
  };
}

type Row = { n: number; queue: string; dedupe_key: string | undefined; json: string };

function rowOf({ job, reserved }: ReadyJob, n: number, which = ''): Row {
  try {
    return { n, queue: job.queue, dedupe_key: job.dedupe_key, json: jsonOf(job, n, reserved) };
  } catch (error) {
    throw which && error instanceof InvalidJob ? new InvalidJob(`${which}${error.message}`, { cause: error }) : error;
  }
}

/** The beginning of an error about one of several jobs. */
export const whichOf = (n: number, of: number) => (of === 1 ? '' : `job ${n + 1} of ${of}: `);

/** @returns the outcome of each row, by its `n` */
async function insertRows(db: Queryable, rows: Row[]): Promise<Map<number, Added>> {
  const added = new Map<number, Added>();
  let rest = rows;
  while (rest.length > 0) {
    const inserted = await insert(db, rest, { all_new: false });
    for (const { n, id } of inserted) added.set(n, { id, created: true });
    rest = rest.filter(({ n }) => !added.has(n));
    const keys = rest.map(({ n, queue, dedupe_key }) => ({ n, queue, dedupe_key }));
    if (keys.some(({ dedupe_key }) => dedupe_key === undefined)) throw new Error('A trigger on jobs skipped an insert');
    if (keys.length > 0)
      for (const { n, id } of await query<Numbered>(db, sql.jobs_of_keys, { jobs: JSON.stringify(keys) }))
        added.set(n, { id, created: false });
    // A job with the same key was deleted between the two statements: then the insert is tried again.
    rest = rest.filter(({ n }) => !added.has(n));
  }
  return added;
}

type Numbered = { n: number; id: number };

/** @throws InvalidJob for a row that Postgres refuses */
async function insert(db: Queryable, rows: readonly Row[], { all_new }: { all_new: boolean }): Promise<Numbered[]> {
  try {
    const jobs = `[${rows.map(({ json }) => json).join(',')}]`;
    return await query<Numbered>(db, sql.add_jobs, { jobs, all_new });
  } catch (error) {
    const words = refusal(error);
    throw words === undefined ? error : new InvalidJob(words, { cause: error });
  }
}

/** Why Postgres refused a row; undefined for an error that is not about a row. */
function refusal(error: unknown): string | undefined {
  const code = codeOf(error) ?? '';
  const { detail = '', hint } = error as { detail?: string; hint?: string };
  if (code === '23503') return `file_id: there is no such file, ${/=\((.*?)\)/.exec(detail)?.[1]}`;
  // Errors of check_job, and of the partition for unknown queues, have a hint. P0001 is a trigger of the user's.
  if (/^(23(502|514)|P0001)$/.test(code)) return `${messageOf(error)}${hint ? `. ${hint}` : ''}`;
  // jsonb accepts neither NUL nor lone surrogates, and at most some thousand levels.
  // https://www.postgresql.org/docs/current/datatype-json.html
  if (/^(22|54)/.test(code)) return `payload: ${messageOf(error)}`;
  return undefined;
}
