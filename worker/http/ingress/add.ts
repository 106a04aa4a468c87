import { isDeepStrictEqual } from 'node:util';
import { transaction, type Db } from '../../base/db/db.ts';
import type { Keyring } from '../../base/seal.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { addEach, addJobs, sealerOf, type Added } from '../../queue/client/add.ts';
import { InvalidJob } from '../../queue/client/new-job.ts';
import { again } from '../../queue/client/operate.ts';
import type { Registry } from '../../queue/registry.ts';
import { opened } from '../../queue/sensitive.ts';
import type { Asked } from './item.ts';
import { pointerToColumn } from './plain.ts';
import { invalid, pointerTo, Problem } from './problem.ts';

const sql = loadStatements(import.meta.dirname, 'add.sql', ['jobs_of_ids']);

export type Sealing = { registry: Registry; keyring: Keyring | undefined };

/**
 * Adds all jobs or none.
 * @returns what became of each, in their order; `created` is false if its key was known
 * @throws Problem 422 for what Postgres refuses, and for a known key of a job with another content
 */
export async function addAsked(db: Db, asked: readonly Asked[], sealing: Sealing): Promise<Added[]> {
  const sealer = sealerOf(sealing.registry, sealing.keyring);
  const jobs = asked.map(({ job }) => job);
  if (asked.length > 1)
    return again(() =>
      transaction(db, async (tx) => compared(tx, asked, accepted(asked, await addEach(tx, jobs, sealer)), sealing)),
    );
  // It is one statement, so that it needs no transaction.
  const one = again(() => addJobs(db, jobs, sealer)).catch((error: unknown) => accepted(asked, [refused(error)]));
  return compared(db, asked, await one, sealing);
}

function refused(error: unknown): InvalidJob {
  if (error instanceof InvalidJob) return error;
  throw error;
}

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
