import { transaction } from '../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { job } from '../../queue/job.ts';
import { cleanUp, cleanupPayload, cleanupTimeout, type End, type Run } from './sweep/run.ts';

const sql = loadStatements(import.meta.dirname, 'metric_points.sql', ['find_old_partitions', 'drop_partition']);

/**
 * Drops the monthly partitions of metric_points whose points are all older than 400 days. The days that were made of
 * them stay.
 */
export default job({
  name: 'cleanup.metric_points',
  payload: cleanupPayload('metric_points', '400 days'),
  timeout: cleanupTimeout,
  run: (context) => cleanUp(context, dropOld),
});

type Partition = { leaf: string; points: number };

async function dropOld(run: Run): Promise<End> {
  const found = await query<Partition>(run.app.db, sql.find_old_partitions, { cutoff: run.cutoff });
  for (const { leaf, points } of found) {
    run.signal.throwIfAborted();
    if (run.isOver()) return { remaining: true, cutOff: true };
    const counts = { scanned: points, deleted: points };
    if (run.dryRun) await run.count(run.app.db, counts);
    else
      await transaction(run.app.db, async (tx) => {
        if (await drop(tx, leaf)) await run.count(tx, counts);
      });
  }
  return { remaining: run.dryRun && found.length > 0 };
}

async function drop(tx: Queryable, leaf: string): Promise<boolean> {
  const [dropped] = await query<{ dropped: boolean }>(tx, sql.drop_partition, { leaf });
  return dropped!.dropped;
}
