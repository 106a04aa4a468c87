import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Deletes notifications that are older than a year, with their deliveries and events. Suppressions stay. */
export default job({
  name: 'cleanup.notifications',
  payload: cleanupPayload('notifications', '365 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
