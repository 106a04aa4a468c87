import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Temporary files older than a day: the object is deleted, then the row. */
export default job({
  name: 'cleanup.temp_files',
  payload: cleanupPayload('temp_files', '24 hours'),
  timeout: cleanupTimeout,
  run: sweep,
});
