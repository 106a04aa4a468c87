import { transaction, type Tx } from '../../base/db/db.ts';
import type { Queryable } from '../../base/db/sql.ts';
import { countPrunableLogs, pruneLogs } from './sweep/logs.ts';
import { budgetPayload, cleanUp, cleanupTimeout, inChunks, type End, type Run } from './sweep/run.ts';
import { job } from '../../queue/job.ts';
import { queueNames } from '../../queue/client/operate.ts';
import { countPrunable, prune, pruneChunk } from '../../queue/fleet/upkeep.ts';

/**
 * Completed and cancelled jobs of all queues, kept for as long as queues.keep_completed says. Workers prune the queues that they serve all the
 * time; this also does those that nobody serves, and writes down how many. And cleanup_logs, which are kept as long as the cleanup jobs.
 */
export default job({
  name: 'cleanup.finished_jobs',
  payload: budgetPayload('finished_jobs'),
  timeout: cleanupTimeout,
  run: (context) => cleanUp(context, pruneAll),
});

async function pruneAll(run: Run): Promise<End> {
  const { db } = run.app;
  const queues = await queueNames(db);
  if (run.dryRun) {
    for (const queue of queues) await count(run, db, await countPrunable(db, queue));
    await count(run, db, await countPrunableLogs(db));
    return { remaining: false };
  }
  const steps = [...queues.map((queue) => (tx: Tx) => prune(tx, queue)), (tx: Tx) => pruneLogs(tx, pruneChunk)];
  let done = true;
  for (const step of steps) {
    const pruneSome = async (tx: Tx) => (await count(run, tx, await step(tx))) === pruneChunk;
    done = (await inChunks(run, pruneSome, transaction)) && done;
  }
  return { remaining: !done, cutOff: !done };
}

async function count(run: Run, tx: Queryable, rows: number): Promise<number> {
  await run.count(tx, { scanned: rows, deleted: rows });
  return rows;
}
