import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Sessions inactive for 30 days, with all that belongs to them; their devices become inactive. */
export default job({
  name: 'cleanup.sessions',
  payload: cleanupPayload('sessions', '30 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
