import type { Db } from '../../base/db/db.ts';
import { bind, loadStatements, query } from '../../base/db/sql.ts';
import { codeOf } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import type { Keyring } from '../../base/seal.ts';
import { queueNames } from '../client/operate.ts';
import type { Registry } from '../registry.ts';
import { resealing, sealing, sensitiveKinds, type Change } from '../sensitive.ts';
import { countColumns, sealColumns } from './columns.ts';
import { beforeAll, rewrite, type Found, type LockedJob } from './sensitive.ts';

const sql = loadStatements(import.meta.dirname, 'reseal.sql', ['stale', 'seals_in', 'clear_jobs']);

/** What was done for a table so far; `unopened` counts values that do not open, by their error code. */
export type Progress = { leaf: string; rows: number; unopened: Record<string, number> };

/**
 * Seals all that is not sealed by the active key: what is sealed by another key of the ring, and what stands in the
 * clear. A job at a time is locked for a moment. If it is interrupted, the next run goes on where it ended: it finds
 * only what is left.
 * @param tell is called after each batch
 */
export async function reseal(
  db: Db,
  registry: Registry,
  keyring: Keyring,
  tell: (progress: Progress) => void,
): Promise<Progress[]> {
  const done: Progress[] = [];
  for (const queue of await queueNames(db))
    for (const leaf of leavesOf(queue)) {
      const progress: Progress = { leaf, rows: 0, unopened: {} };
      done.push(progress);
      await resealLeaf(db, queue, registry, keyring, progress, () => tell(progress));
    }
  const columns: Progress = { leaf: 'other tables', rows: 0, unopened: {} };
  columns.rows = await sealColumns(db, keyring, true, columns.unopened);
  return [...done, columns];
}

const leavesOf = (queue: string) => [`${queue}_jobs_live`, `${queue}_jobs_done`];

async function resealLeaf(
  db: Db,
  queue: string,
  registry: Registry,
  keyring: Keyring,
  progress: Progress,
  told: () => void,
): Promise<void> {
  const { leaf, unopened } = progress;
  const kinds = sensitiveKinds(registry, queue);
  const stale = `"sealed:(?!${keyring.active}:)[A-Za-z0-9_-]{1,40}:[A-Za-z0-9+/]{47,}={0,2}"`;
  const log = createLog({ logLevel: 'silent', secrets: [] });
  const values = { kinds: JSON.stringify(kinds), stale };
  const change = (job: LockedJob): Change[] => {
    const sensitive = kinds.find(({ kind }) => kind === job.kind)?.sensitive ?? [];
    const { changes, faults } = resealing(job.payload, job, keyring);
    for (const fault of faults) unopened[codeOf(fault) ?? 'unknown'] = (unopened[codeOf(fault) ?? 'unknown'] ?? 0) + 1;
    const whole = faults.length > 0 ? [] : sealing(job.payload, sensitive, job, keyring);
    return [...whole, ...changes.filter((one) => !whole.some((outer) => isIn(one, outer)))];
  };
  for (let after: number | undefined = beforeAll; after !== undefined;) {
    const page: Found[] = await query<Found>(db, bind(sql.stale, { leaf }), { ...values, after });
    progress.rows += await rewrite(leaf, page, change, { db, log });
    if (page.length > 0) told();
    after = page.at(-1)?.id;
  }
}

const isIn = (inner: Change, outer: Change) => outer.place.every((key, at) => inner.place[at] === key);

/** How many rows have values under each key, and how many have sensitive values in the clear. Reads all jobs. */
export async function countSeals(db: Db, registry: Registry): Promise<{ kids: Record<string, number>; clear: number }> {
  const kids: Record<string, number> = {};
  let clear = await countColumns(db, kids);
  for (const queue of await queueNames(db))
    for (const leaf of leavesOf(queue)) {
      const sealed = '"sealed:([A-Za-z0-9_-]{1,40}):[A-Za-z0-9+/]{47,}={0,2}"';
      for (const { kid, jobs } of await query<{ kid: string; jobs: number }>(db, bind(sql.seals_in, { leaf }), {
        sealed,
      }))
        kids[kid] = (kids[kid] ?? 0) + jobs;
      const kinds = sensitiveKinds(registry, queue);
      if (kinds.length === 0) continue;
      const [found] = await query<{ jobs: number }>(db, bind(sql.clear_jobs, { leaf }), {
        kinds: JSON.stringify(kinds),
      });
      clear += found!.jobs;
    }
  return { kids, clear };
}
