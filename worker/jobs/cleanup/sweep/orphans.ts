import { transaction } from '../../../base/db/db.ts';
import { PermanentError } from '../../../base/errors.ts';
import { loadStatements, query, type Statement } from '../../../base/db/sql.ts';
import type { StoredObject } from '../../../base/storage/storage.ts';
import { deleteObjects, hasDeletions } from './deletions.ts';
import { budget, inChunks, type CleanupPayload, type End, type Run } from './run.ts';
import { checkTables, inChunk, loadSteps, runStep } from './steps.ts';

/**
 * Deletes objects that no row refers to. Nothing else here can do so much harm, so it is careful: the bucket is listed
 * before the tables are read; an object must be a week old, and be found by two runs, a day apart; an object that is in
 * use at the last moment is kept. The run fails if it looks like the wrong database, an emptied table, or an unknown
 * prefix. As installed, it only reports what it would delete.
 */

const sql = loadStatements(import.meta.dirname, 'orphans.sql', [
  'clear_listing',
  'add_listing',
  'find_orphans',
  'compare_at_once',
  'weigh_listing',
  'forget_sightings',
  'see_orphans',
  'condemn_orphans',
]);
const pageSize = 1_000;
/** How many keys are looked up at once. */
const lookUpSize = 5_000;

export type OrphanPayload = CleanupPayload & { prefixes?: string[] | undefined; maxShare: number };
type Weight = { listed: number; orphaned: number; confirmed: number; bytes: number };

export async function deleteOrphans(run: Run<OrphanPayload>): Promise<End> {
  const { app, logId: log_id } = run;
  const clear = () => query(app.db, sql.clear_listing, { log_id });
  await clear();
  try {
    return await compare(run);
  } finally {
    // The next run clears what a killed run leaves.
    await clear().catch(() => {});
  }
}

async function compare(run: Run<OrphanPayload>): Promise<End> {
  const { app, payload, logId: log_id } = run;
  const { db } = app;
  const steps = loadSteps(run.kind, ['known_prefixes', 'references']);
  await checkTables(db, steps);
  const prefixes = await prefixesOf(run, steps.known_prefixes);
  await checkReferences(run, steps.references);
  await list(run, prefixes);
  await findOrphans(run);
  const weight = await weigh(run);
  if (weight.orphaned > weight.listed * payload.maxShare) throw tooMany(weight, payload.maxShare);

  const { listed: scanned, confirmed } = weight;
  const skipped = weight.orphaned - confirmed;
  if (run.dryRun) {
    await run.count(db, { scanned, skipped, deleted: confirmed, bytes: weight.bytes });
    return { remaining: confirmed > 0 };
  }
  if (run.fresh) await run.count(db, { scanned, skipped });
  await query(db, sql.forget_sightings, { log_id, prefixes });
  await query(db, sql.see_orphans, { log_id });
  // Listing may take any time: the budget is for deleting.
  const deleting = { ...run, isOver: budget(payload.seconds) };
  const cutOff = !(await condemn(deleting));
  await deleteObjects(deleting);
  return { remaining: cutOff || (await hasDeletions(db)), cutOff };
}

/** @throws PermanentError `orphans_unknown_prefix` */
async function prefixesOf({ app, payload }: Run<OrphanPayload>, step: Statement): Promise<string[]> {
  const known = (await runStep<{ prefix: string }>(app.db, step, {})).map(({ prefix }) => prefix);
  const unknown = (payload.prefixes ?? []).filter((prefix) => !known.some((one) => prefix.startsWith(one)));
  if (unknown.length > 0)
    throw new PermanentError(
      'orphans_unknown_prefix',
      `No statement knows which objects under ${unknown.join(', ')} are in use: ` +
        `sql/cleanup/orphaned_media.sql knows ${known.join(', ')}`,
    );
  return payload.prefixes ?? known;
}

/** @throws PermanentError `orphans_no_references` */
async function checkReferences({ app }: Run, step: Statement): Promise<void> {
  const tables = await runStep<{ name: string; filled: boolean }>(app.db, step, {});
  const empty = tables.filter(({ filled }) => !filled).map(({ name }) => name);
  if (empty.length > 0)
    throw new PermanentError(
      'orphans_no_references',
      `${empty.join(', ')} is empty: all objects would seem to be orphaned`,
    );
}

/** Records what storage contains. */
async function list({ app, logId: log_id, signal }: Run, prefixes: string[]): Promise<void> {
  let page: StoredObject[] = [];
  const flush = async () => {
    if (page.length > 0) await query(app.db, sql.add_listing, { log_id, objects: JSON.stringify(page) });
    page = [];
  };
  for (const prefix of prefixes) {
    for await (const object of app.storage.list(prefix, { signal })) {
      page.push(object);
      if (page.length === pageSize) await flush();
    }
  }
  await flush();
}

/** Marks the objects that no row names. */
async function findOrphans({ app, logId: log_id, cutoff, signal }: Run): Promise<void> {
  for (let after = ''; ;) {
    signal.throwIfAborted();
    const values = { log_id, cutoff, after, limit: lookUpSize };
    const [page] = await inChunk(app.db, (tx) =>
      query<{ keys: number; reached: string | null }>(tx, sql.find_orphans, values),
    );
    if (page!.keys < lookUpSize) return;
    after = page!.reached!;
  }
}

async function weigh({ app, logId: log_id }: Run): Promise<Weight> {
  return transaction(app.db, async (tx) => {
    await query(tx, sql.compare_at_once);
    const [weight] = await query<Weight>(tx, sql.weigh_listing, { log_id });
    return weight!;
  });
}

const tooMany = ({ listed, orphaned }: Weight, maxShare: number) =>
  new PermanentError(
    'orphans_too_many',
    `${orphaned} of ${listed} objects seem to be orphaned, more than a share of ${maxShare}. ` +
      'If this is the right database and the right bucket, and application_object_uses knows all of your own tables ' +
      'that refer to objects, allow more with "maxShare" in the payload',
  );

/** @returns whether it finished within the budget */
function condemn(run: Run<OrphanPayload>): Promise<boolean> {
  const { chunk } = run.payload;
  let after = '';
  return inChunks(run, async (tx) => {
    const values = { log_id: run.logId, after, chunk };
    const [row] = await query<{ deleted: number; reached: string | null }>(tx, sql.condemn_orphans, values);
    const { deleted, reached } = row!;
    await run.count(tx, { deleted });
    after = reached ?? after;
    return deleted === chunk;
  });
}
