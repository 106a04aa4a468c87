import { deleteObjects, foreseeObjects, hasDeletions } from './sweep/deletions.ts';
import { budgetPayload, cleanUp, cleanupTimeout } from './sweep/run.ts';
import { job } from '../../queue/job.ts';

/**
 * Deletes objects that other cleanups left in storage_deletions, because storage failed, or their time was over. Those
 * cleanups add this job.
 */
export default job({
  name: 'cleanup.storage_deletions',
  payload: budgetPayload('storage_deletions'),
  timeout: cleanupTimeout,
  run: (context) =>
    cleanUp(context, async (run) => {
      if (run.dryRun) await foreseeObjects(run);
      else await deleteObjects(run, { countAll: true });
      return { remaining: await hasDeletions(run.app.db) };
    }),
});
