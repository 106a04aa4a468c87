import { setTimeout as sleep } from 'node:timers/promises';
import type { Db, Tx } from '../base/db.ts';
import { codeOf, messageOf } from '../base/errors.ts';
import { loadStatements, query, type Queryable } from '../base/sql.ts';
import type { DeleteFailure } from '../base/storage/storage.ts';
import { budget, inChunks, type Counts, type Run } from './run.ts';
import { runStep, stepsOf } from './steps.ts';

/**
 * Deletes from storage what rows no longer refer to: the keys in storage_deletions, a thousand a request.
 *
 * A key may be in use again by then: several rows referred to the object, or it was uploaded anew. So whether it is in use is asked once more, by
 * the `in_use` of the cleanup that the key came from, while the row of storage_deletions is locked, and when every transaction has ended that
 * may have begun to use it unseen; what a running media job writes is in use as well. An application that writes its row
 * under the trigger keep_object, and commits before it uploads, is safe; one that uploads first should never use a key twice.
 */

const sql = loadStatements(import.meta.dirname, 'deletions.sql');
const pageSize = 1_000;
const requestMs = 30_000;
/** Most transactions end within this time. Others are left alone until later. */
const waitMs = 3_000;
/** So many requests in a row that failed as a whole, and storage is left alone until later. */
const patience = 3;

type Deletion = { id: number; key: string; reason: string; bytes: number };
type Failure = { id: number; error_code: string; error: string };

/** Deletes what is due, and counts the keys that failed; of the cleanup that does nothing else, everything. */
export async function deleteObjects(run: Run, { countAll = false } = {}): Promise<boolean> {
  await inChunks(run, async (tx) => (await change(tx, 'note_horizon')) === pageSize);
  const waited = budget(waitMs / 1_000);
  let refused = 0;
  return inChunks(run, async (tx) => {
    const rows = await query<Deletion>(tx, sql['take_deletions']!, { limit: pageSize });
    const used = await inUse(tx, rows);
    const unused = rows.filter(({ key }) => !used.has(key));
    const failures = await deletePage(run, unused);
    const failed = new Set(failures.map(({ id }) => id));
    if (failures.length > 0) await query(tx, sql['postpone_deletions']!, { failures: JSON.stringify(failures) });
    await query(tx, sql['settle_deletions']!, { ids: rows.map(({ id }) => id).filter((id) => !failed.has(id)) });

    const deleted = unused.filter(({ id }) => !failed.has(id));
    const errors = failures.length;
    await run.count(
      tx,
      countAll ? { ...countsOf(rows, deleted), skipped: rows.length - unused.length, errors } : { errors },
    );
    refused = unused.length > 0 && deleted.length === 0 ? refused + 1 : 0;
    if (refused === patience) return false;
    return rows.length === pageSize || (await waitsForTransactions(tx, waited));
  });
}

/** Whether some may soon be deleted. Those that take longer are put off. */
async function waitsForTransactions(tx: Tx, waited: () => boolean): Promise<boolean> {
  if (waited()) return (await change(tx, 'put_off_deletions')) === pageSize;
  const left = await query(tx, sql['left_deletions']!);
  if (left.length > 0) await sleep(20);
  return left.length > 0;
}

/** A page at a time. @returns how many rows it changed */
const change = async (tx: Tx, statement: string) => (await query(tx, sql[statement]!, { limit: pageSize })).length;

/** What it would do. */
export async function foreseeObjects(run: Run): Promise<void> {
  for (let after = 0; ;) {
    const rows = await query<Deletion>(run.app.db, sql['look_at_deletions']!, { after, limit: pageSize });
    const used = await inUse(run.app.db, rows);
    const unused = rows.filter(({ key }) => !used.has(key));
    await run.count(run.app.db, { ...countsOf(rows, unused), skipped: rows.length - unused.length });
    if (rows.length < pageSize) return;
    after = rows.at(-1)!.id;
  }
}

/** Whether some are left that will be tried again. */
export async function hasDeletions(db: Db, reason: string | null = null): Promise<boolean> {
  const [row] = await query<{ found: boolean }>(db, sql['has_deletions']!, { reason });
  return row!.found;
}

const countsOf = (scanned: Deletion[], deleted: Deletion[]): Partial<Counts> => ({
  scanned: scanned.length,
  deleted: deleted.length,
  bytes: deleted.reduce((sum, { bytes }) => sum + bytes, 0),
});

async function inUse(db: Queryable, rows: Deletion[]): Promise<Set<string>> {
  // First: a job that completes meanwhile has its rows by the time that they are asked for.
  const held = await query<{ key: string }>(db, sql['held']!, { keys: rows.map(({ key }) => key) });
  const used = new Set(held.map(({ key }) => key));
  for (const [reason, group] of Map.groupBy(rows, (row) => row.reason)) {
    const steps = stepsOf(reason);
    if (!steps || !('in_use' in steps)) continue;
    const keys = group.map(({ key }) => key);
    for (const { key } of await runStep<{ key: string }>(db, steps['in_use'], { keys })) used.add(key);
  }
  return used;
}

/** What concerns all keys, such as a storage that is away, is the failure of each. */
async function deletePage({ app, signal }: Run, rows: Deletion[]): Promise<Failure[]> {
  if (rows.length === 0) return [];
  const failures = await request();
  const byKey = new Map(failures.map((failure) => [failure.key, failure]));
  return rows.flatMap(({ id, key }) => {
    const failure = byKey.get(key);
    return failure ? [{ id, error_code: failure.error_code.slice(0, 60), error: failure.error.slice(0, 500) }] : [];
  });

  async function request(): Promise<DeleteFailure[]> {
    const keys = [...new Set(rows.map(({ key }) => key))];
    const limit = AbortSignal.timeout(requestMs);
    try {
      return await app.storage.delete(keys, { signal: AbortSignal.any([signal, limit]) });
    } catch (error) {
      signal.throwIfAborted();
      const code = limit.aborted ? 'storage_timeout' : (codeOf(error) ?? 'storage_refused');
      return keys.map((key) => ({ key, error_code: code, error: messageOf(error) }));
    }
  }
}
