import { transaction, type Tx } from '../../base/db/db.ts';
import type { Queryable } from '../../base/db/sql.ts';
import { countPrunableLogs, pruneLogs } from './sweep/logs.ts';
import { budgetPayload, cleanUp, cleanupTimeout, inChunks, type End, type Run } from './sweep/run.ts';
import { job } from '../../queue/job.ts';
import { queueNames } from '../../queue/client/operate.ts';
import { countPrunable, prune, pruneChunk } from '../../queue/fleet/upkeep.ts';

/**
 * Deletes completed and cancelled jobs of all queues after queues.keep_completed, and cleanup_logs as old as that.
 * Workers always prune the queues that they serve; this also prunes the queues that nobody serves, and records how many
 * jobs it deleted.
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
