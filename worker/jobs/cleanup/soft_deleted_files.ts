import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Deletes auction files that were soft-deleted 30 days ago: their pictures, then the rows. */
export default job({
  name: 'cleanup.soft_deleted_files',
  payload: cleanupPayload('soft_deleted_files', '30 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
