import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/**
 * Deletes sessions that were inactive for 30 days, with everything that belongs to them. Their devices become inactive.
 */
export default job({
  name: 'cleanup.sessions',
  payload: cleanupPayload('sessions', '30 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
