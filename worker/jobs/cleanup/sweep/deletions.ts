import { setTimeout as sleep } from 'node:timers/promises';
import type { Db, Tx } from '../../../base/db/db.ts';
import { codeOf, messageOf } from '../../../base/errors.ts';
import { loadStatements, query, type Queryable, type Statement } from '../../../base/db/sql.ts';
import type { DeleteFailure, Storage } from '../../../base/storage/storage.ts';
import { budget, inChunks, type Counts, type Run } from './run.ts';

/**
 * Deletes objects from storage to which no row refers any more: the keys in storage_deletions, a thousand per request.
 * A key with a slash at its end is a folder, and stands for all objects in it.
 *
 * A key may be in use again by then: several rows referred to the object, or it was uploaded anew. So object_uses is
 * asked once more, while the row of storage_deletions is locked, and after every transaction has ended that may have
 * begun to use the key unseen. An application that writes its row under the trigger keep_object, and commits before it
 * uploads, is safe. One that uploads first should never use a key twice. An object that is kept for a row which goes
 * without a trace, such as one with a URL, is checked again by each run.
 */

const sql = loadStatements(import.meta.dirname, 'deletions.sql', [
  'note_horizon',
  'take_deletions',
  'left_deletions',
  'put_off_deletions',
  'in_use',
  'settle_deletions',
  'release_kept',
  'postpone_deletions',
  'look_at_deletions',
  'has_postponed',
  'has_deletions',
]);
const pageSize = 1_000;
const requestMs = 30_000;
/** After this time, the folders that are left wait for the next transaction. */
const foldersMs = 5_000;
/** Most transactions end within this time. For those that do not, the objects are put off. */
const waitMs = 3_000;
/** After this number of failed requests in a row, storage is left alone until later. */
const patience = 3;

type Deletion = { id: number; key: string; bytes: number };
type Failure = { id: number; error_code: string; error: string };
/** What became of some rows. `bytes` is what storage deleted. */
type Outcome = { deleted: Deletion[]; failures: Failure[]; bytes: number };

/** Deletes what is due. Counts the deleted bytes and the failed keys; with `countAll`, all keys. */
export async function deleteObjects(run: Run, { countAll = false } = {}): Promise<boolean> {
  await releaseKept(run);
  await inChunks(run, async (tx) => (await change(tx, sql.note_horizon)) === pageSize);
  const waited = budget(waitMs / 1_000);
  let refused = 0;
  return inChunks(run, async (tx) => {
    const rows = await query<Deletion>(tx, sql.take_deletions, { limit: pageSize });
    const used = await inUse(tx, rows);
    const unused = rows.filter(({ key }) => !used.has(key));
    const { deleted, failures, bytes } = await deleteRows(run, unused);
    if (failures.length > 0) await query(tx, sql.postpone_deletions, { failures: JSON.stringify(failures) });
    const kept = rows.filter(({ key }) => used.has(key));
    await query(tx, sql.settle_deletions, {
      ids: [...kept, ...deleted].map(({ id }) => id),
      gone: deleted.map(({ key }) => key),
      forgotten: kept.map(({ key }) => key).filter((key) => used.get(key)),
    });

    const errors = failures.length;
    const all = { scanned: kept.length + deleted.length + errors, deleted: deleted.length, skipped: kept.length };
    await run.count(tx, { bytes, errors, ...(countAll ? all : {}) });
    refused = unused.length > 0 && deleted.length === 0 ? refused + 1 : 0;
    if (refused === patience) return false;
    const left = unused.length - deleted.length - errors;
    return rows.length >= pageSize || left > 0 || (await waitsForTransactions(tx, waited));
  });
}

/** Objects that were kept for a row which does not name them any more are to be deleted again. */
async function releaseKept(run: Run): Promise<void> {
  let after = '';
  await inChunks(run, async (tx) => {
    const [page] = await query<{ keys: number; reached: string | null }>(tx, sql.release_kept, {
      after,
      limit: pageSize,
    });
    after = page!.reached ?? after;
    return page!.keys === pageSize;
  });
}

/** Whether some rows may soon be deleted. Those that wait for longer transactions are put off. */
async function waitsForTransactions(tx: Tx, waited: () => boolean): Promise<boolean> {
  if (waited()) return (await change(tx, sql.put_off_deletions)) === pageSize;
  const left = await query(tx, sql.left_deletions);
  if (left.length > 0) await sleep(20);
  return left.length > 0;
}

/** Changes one page. @returns how many rows it changed */
const change = async (tx: Tx, statement: Statement) => (await query(tx, statement, { limit: pageSize })).length;

/** Counts what a run would do. */
export async function foreseeObjects(run: Run): Promise<void> {
  const { db, storage } = run.app;
  let folder = '/';
  for (let after = ''; ;) {
    const keys = await query<{ key: string; bytes: number; rows: number }>(db, sql.look_at_deletions, {
      after,
      limit: pageSize,
    });
    const used = await inUse(db, keys);
    for (const { key, bytes, rows } of keys) {
      const counts: Partial<Counts> = { scanned: rows };
      if (used.has(key)) counts.skipped = rows;
      else {
        counts.deleted = rows;
        if (isFolder(key)) folder = key;
        counts.bytes = isFolder(key) ? await bytesIn(storage, key, run.signal) : key.startsWith(folder) ? 0 : bytes;
      }
      await run.count(db, counts);
    }
    if (keys.length < pageSize) return;
    after = keys.at(-1)!.key;
  }
}

/** The size of all objects in a folder. */
export async function bytesIn(storage: Storage, folder: string, signal: AbortSignal): Promise<number> {
  let sum = 0;
  for await (const { bytes } of storage.list(folder, { signal })) sum += bytes;
  return sum;
}

const isFolder = (key: string) => key.endsWith('/');

/** Whether rows are left that will be tried again. */
export const hasDeletions = (db: Db) => found(db, sql.has_deletions);

/** Whether rows have failed, or wait for transactions. */
export const hasPostponed = (db: Db) => found(db, sql.has_postponed);

async function found(db: Db, statement: Statement): Promise<boolean> {
  const [row] = await query<{ found: boolean }>(db, statement);
  return row!.found;
}

/** @returns the keys in use, each with whether its users may go without a trace */
async function inUse(db: Queryable, rows: { key: string }[]): Promise<Map<string, boolean>> {
  if (rows.length === 0) return new Map();
  const keys = rows.map(({ key }) => key);
  const used = await query<{ key: string; forgets: boolean }>(db, sql.in_use, { keys });
  return new Map(used.map(({ key, forgets }) => [key, forgets]));
}

/**
 * Deletes single objects first, then one folder after another, as long as there is time. The other rows have no
 * outcome.
 */
async function deleteRows(run: Run, rows: Deletion[]): Promise<Outcome> {
  const folders = [...new Set(rows.map(({ key }) => key).filter(isFolder))];
  const groups = Map.groupBy(rows, ({ key }) => folders.find((folder) => key.startsWith(folder)) ?? '');
  const isLate = budget(foldersMs / 1_000);
  const outcomes: Outcome[] = [];
  for (const folder of ['', ...folders]) {
    if (folder && (isLate() || run.isOver())) break;
    outcomes.push(await deleteGroup(run, folder, groups.get(folder) ?? []));
  }
  return {
    deleted: outcomes.flatMap(({ deleted }) => deleted),
    failures: outcomes.flatMap(({ failures }) => failures),
    bytes: outcomes.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

/** @param folder in which the rows are, and all of whose objects are deleted; or empty */
async function deleteGroup({ app, signal }: Run, folder: string, rows: Deletion[]): Promise<Outcome> {
  const failures = new Map<string, DeleteFailure>();
  let whole: DeleteFailure | undefined;
  let bytes = 0;
  try {
    for await (const page of folder ? pagesOf(app.storage.list(folder, { signal })) : sized(rows)) {
      const failed = await deletePage(app.storage, [...page.keys()], signal);
      for (const failure of failed) failures.set(failure.key, failure);
      for (const [key, size] of page) if (!failures.has(key)) bytes += size;
    }
  } catch (error) {
    signal.throwIfAborted();
    whole = failureOf(folder, error);
  }
  const [first] = failures.values();
  const failureOfRow = ({ key }: Deletion) => whole ?? (isFolder(key) ? first : failures.get(key));
  return {
    bytes,
    deleted: rows.filter((row) => !failureOfRow(row)),
    failures: rows.flatMap((row) => {
      const failure = failureOfRow(row);
      return failure
        ? [{ id: row.id, error_code: failure.error_code.slice(0, 60), error: failure.error.slice(0, 500) }]
        : [];
    }),
  };
}

/** Keys and their sizes, each key once. */
type Page = Map<string, number>;

function sized(rows: Deletion[]): Page[] {
  const page: Page = new Map();
  for (const { key, bytes } of rows) page.set(key, Math.max(bytes, page.get(key) ?? 0));
  const entries = [...page];
  const pages = Math.ceil(entries.length / pageSize);
  return Array.from({ length: pages }, (_, n) => new Map(entries.slice(n * pageSize, (n + 1) * pageSize)));
}

async function* pagesOf(objects: ReturnType<Storage['list']>): AsyncGenerator<Page> {
  let page: Page = new Map();
  for await (const { key, bytes } of objects) {
    page.set(key, bytes);
    if (page.size < pageSize) continue;
    yield page;
    page = new Map();
  }
  if (page.size > 0) yield page;
}

/** A failure of the whole request, such as a storage that cannot be reached, is the failure of each key. */
async function deletePage(storage: Storage, keys: string[], signal: AbortSignal): Promise<DeleteFailure[]> {
  const limit = AbortSignal.timeout(requestMs);
  try {
    return await storage.delete(keys, { signal: AbortSignal.any([signal, limit]) });
  } catch (error) {
    signal.throwIfAborted();
    const { error_code, error: message } = failureOf('', error);
    return keys.map((key) => ({ key, error_code: limit.aborted ? 'storage_timeout' : error_code, error: message }));
  }
}

const failureOf = (key: string, error: unknown): DeleteFailure => ({
  key,
  error_code: codeOf(error) ?? 'storage_refused',
  error: messageOf(error),
});
