import { setTimeout as sleep } from 'node:timers/promises';
import { isTransient, transaction, type Db } from '../../base/db/db.ts';
import { bind, loadStatements, query } from '../../base/db/sql.ts';
import type { Log } from '../../base/log.ts';
import type { Keyring } from '../../base/seal.ts';
import type { Registry } from '../registry.ts';
import { storable } from '../run/storable.ts';
import { removing, sealing, sensitiveKinds, type Change, type SensitiveKind } from '../sensitive.ts';
import { sealColumns } from './columns.ts';

const sql = loadStatements(import.meta.dirname, 'sensitive.sql', [
  'search_due',
  'clear_in_live',
  'clear_in_done',
  'lock_jobs',
  'put_values',
  'searched',
]);
const shortestRestMs = 20_000;
const longestRestMs = 45_000;
const restFactor = 20;
/** How much is read into memory at once, as stored: as text it may be some times as much. */
const groupBytes = 1_000_000;

export type SensitiveOptions = {
  db: Db;
  registry: Registry;
  /** Without: the values of jobs that ended long ago are removed. */
  keyring: Keyring | undefined;
  log: Log;
};

/**
 * Seals sensitive values that came in the clear, or removes them, until `signal` aborts. Without a kind that has some,
 * it does nothing. While a search takes long, it rests longer, but never so long that a value stands in the clear for
 * more than a minute.
 */
export async function keepSensitive(queues: string[], signal: AbortSignal, options: SensitiveOptions): Promise<void> {
  const concerned = queues.filter((queue) => sensitiveKinds(options.registry, queue).length > 0);
  while (concerned.length > 0 && !signal.aborted) {
    const began = performance.now();
    const { db, keyring, log } = options;
    const failed = (where: object) => (error: unknown) =>
      log[isTransient(error) ? 'debug' : 'error'](
        { ...where, err: error },
        'could not search for sensitive values, will try again',
      );
    for (const queue of concerned) await searchQueue(queue, options).catch(failed({ queue }));
    if (keyring) await sealColumns(db, keyring).catch(failed({}));
    const load = (performance.now() - began) * restFactor;
    await sleep(Math.min(Math.max(load, shortestRestMs), longestRestMs), undefined, { signal }).catch(() => {});
  }
}

/** Searches a queue, unless another worker has just done so. @param always even then @returns the jobs it changed */
export async function searchQueue(queue: string, options: SensitiveOptions, always = false): Promise<number> {
  const { db, registry, keyring } = options;
  type Due = { since: string | null; until: string; due: boolean };
  const [found] = await query<Due>(db, sql.search_due, { queue, sealing: keyring !== undefined });
  if (!found?.due && !always) return 0;
  const { since, until } = found!;
  const kinds = sensitiveKinds(registry, queue);
  const values = { kinds: JSON.stringify(kinds), ended_before: keyring ? null : until };
  const change = (job: LockedJob) => changesOf(job, kinds, keyring);

  let changed = 0;
  const leaves = { live: `${queue}_jobs_live`, done: `${queue}_jobs_done` };
  for (let after: number | undefined = beforeAll; after !== undefined;) {
    const page: Found[] = await query<Found>(db, bind(sql.clear_in_live, leaves), { ...values, after });
    changed += await rewrite(leaves.live, page, change, options);
    after = page.at(-1)?.id;
  }
  for (let from: Pick<FoundDone, 'id' | 'at'> | undefined = { id: beforeAll, at: since }; from;) {
    const place = { after: from.id, at: from.at };
    const page: FoundDone[] = await query<FoundDone>(db, bind(sql.clear_in_done, leaves), { ...values, ...place });
    changed += await rewrite(leaves.done, page, change, options);
    from = page.at(-1);
  }
  await query(db, sql.searched, { queue, until });
  return changed;
}

/** Smaller than any id. */
export const beforeAll = Number.MIN_SAFE_INTEGER - 1;

export type Found = { id: number; bytes: number };
type FoundDone = Found & { at: string | null };
export type LockedJob = { id: number; queue: string; kind: string; payload: unknown };

function changesOf(job: LockedJob, kinds: SensitiveKind[], keyring: Keyring | undefined): Change[] {
  const kind = kinds.find((one) => one.kind === job.kind);
  if (!kind) return [];
  return keyring ? sealing(job.payload, kind.sensitive, job, keyring) : removing(job.payload, kind.sensitive);
}

/**
 * Changes the payloads of jobs, in groups that fit into memory. A job that is locked, or whose payload cannot be
 * changed, keeps neither its neighbours nor the next search.
 * @returns how many it changed
 */
export async function rewrite(
  leaf: string,
  found: Found[],
  change: (job: LockedJob) => Change[],
  { db, log }: Pick<SensitiveOptions, 'db' | 'log'>,
): Promise<number> {
  let changed = 0;
  for (const ids of groupsOf(found))
    changed += await transaction(db, async (tx) => {
      const rows = await query<LockedJob>(tx, bind(sql.lock_jobs, { leaf }), { ids });
      const jobs = rows.flatMap((job) => {
        try {
          // The row is locked, so a value needs no comparison with what was there; a number may differ from its text.
          const changes = change(job).map(({ place, value }) => ({ place, value }));
          return changes.length > 0 ? [{ id: job.id, changes }] : [];
        } catch (error) {
          // rowmill doctor counts such jobs.
          log.debug({ job_id: job.id, kind: job.kind, err: error }, 'could not change the sensitive values of a job');
          return [];
        }
      });
      if (jobs.length > 0) await query(tx, bind(sql.put_values, { leaf }), { jobs: storable(jobs) });
      return jobs.length;
    });
  return changed;
}

function groupsOf(found: Found[]): number[][] {
  const groups: number[][] = [];
  let bytes = Infinity;
  for (const job of found) {
    if (bytes + job.bytes > groupBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(job.id);
    bytes += job.bytes;
  }
  return groups;
}
