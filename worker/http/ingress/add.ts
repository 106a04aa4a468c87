import { isDeepStrictEqual } from 'node:util';
import { transaction, type Db } from '../../base/db/db.ts';
import type { Keyring } from '../../base/seal.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { addEach, addJobs, addNewJobs, sealerOf, type Added } from '../../queue/client/add.ts';
import { InvalidJob, type NewJob } from '../../queue/client/new-job.ts';
import { again } from '../../queue/client/operate.ts';
import type { Registry } from '../../queue/registry.ts';
import { coalesce } from '../../queue/run/coalesce.ts';
import { opened } from '../../queue/sensitive.ts';
import type { Asked } from './item.ts';
import { pointerToColumn } from './plain.ts';
import { invalid, pointerTo, Problem } from './problem.ts';

const sql = loadStatements(import.meta.dirname, 'add.sql', ['jobs_of_ids']);

type Sealing = { registry: Registry; keyring: Keyring | undefined };

/**
 * Adds the jobs of a request, all or none.
 * @returns what became of each, in their order; `created` is false if its key was known
 * @throws Problem 422 for what Postgres refuses, and for a known key of a job with another content
 */
type Add = (asked: readonly Asked[]) => Promise<Added[]>;

export function createAdd(db: Db, sealing: Sealing): Add {
  const sealer = sealerOf(sealing.registry, sealing.keyring);
  const add = (jobs: NewJob[]) => again(() => addJobs(db, jobs, sealer));
  const addOne = addingTogether(add);

  /**
   * In one statement, which needs no transaction. Undefined: Postgres refuses one of them, or the key of one of several
   * is known: with another content, it takes back the whole list.
   */
  async function addAtOnce(jobs: NewJob[]): Promise<Added[] | undefined> {
    try {
      const [job, ...others] = jobs;
      if (others.length > 0) return await again(() => addNewJobs(db, jobs, sealer));
      return mayWait(job!) ? await add(jobs) : [await addOne(job!)];
    } catch (error) {
      if (error instanceof InvalidJob) return undefined;
      throw error;
    }
  }

  return async (asked) => {
    const jobs = asked.map(({ job }) => job);
    const added = await addAtOnce(jobs);
    if (added) return compared(db, asked, added, sealing);
    return again(() =>
      transaction(db, async (tx) => compared(tx, asked, accepted(asked, await addEach(tx, jobs, sealer)), sealing)),
    );
  };
}

/** Jobs of several requests that come at the same time go with one statement: each commit costs a write to disk. */
function addingTogether(add: (jobs: NewJob[]) => Promise<Added[]>): (job: NewJob) => Promise<Added> {
  const together = coalesce<NewJob, Added | { error: unknown }>(
    async (jobs) => {
      try {
        return await add(jobs);
      } catch (error) {
        // Nothing was added: each is tried alone. After another error, nobody knows, and jobs may have no key.
        if (error instanceof InvalidJob) throw error;
        return jobs.map(() => ({ error }));
      }
    },
    { max: 100, parallel: 2, patienceMs: 1_000 },
  );
  return async (job) => {
    const added = await together(job);
    if ('error' in added) throw added.error;
    return added;
  };
}

/** Others than this server may have its key, or its file, in a transaction that stays open. */
const mayWait = ({ file_id, dedupe_key }: NewJob) =>
  file_id !== undefined || (dedupe_key !== undefined && !dedupe_key.startsWith('http:'));

function accepted(asked: readonly Asked[], outcomes: (Added | InvalidJob)[]): Added[] {
  const faults = outcomes.flatMap((each, n) =>
    each instanceof InvalidJob ? [{ pointer: pointerToColumn(asked[n]!, each.message), detail: each.message }] : [],
  );
  if (faults.length > 0) throw invalid(faults);
  return outcomes as Added[];
}

type Stored = { id: number; queue: string; kind: string; payload: unknown; file_id: string | null };

async function compared(db: Queryable, asked: readonly Asked[], added: Added[], sealing: Sealing): Promise<Added[]> {
  const ids = added.filter(({ created }) => !created).map(({ id }) => id);
  if (ids.length === 0) return added;
  const stored = new Map((await query<Stored>(db, sql.jobs_of_ids, { ids })).map((row) => [row.id, row]));
  const errors = asked.flatMap((each, n) => {
    const { id, created } = added[n]!;
    const row = stored.get(id);
    if (created || !row || isSame(each, row, sealing)) return [];
    return [
      { pointer: pointerTo(each.at), detail: `its key is the key of a job with another kind, payload or fileId` },
    ];
  });
  if (errors.length > 0) throw new Problem(422, 'key_reused', 'No job was added', { errors });
  return added;
}

function isSame({ job }: Asked, row: Stored, { registry, keyring }: Sealing): boolean {
  const fileId = job.file_id === undefined ? null : String(job.file_id);
  if (row.kind !== job.kind || row.file_id !== fileId) return false;
  let payload = row.payload;
  try {
    const sensitive = registry.get(`${row.queue}.${row.kind}`)?.sensitive ?? [];
    payload = opened(row.payload, sensitive, row, keyring);
  } catch {
    // Values that were removed, or whose key is lost, cannot be compared.
    return true;
  }
  // As Postgres stored it, such as 0 for -0.
  return isDeepStrictEqual(payload, JSON.parse(JSON.stringify(job.payload)));
}
