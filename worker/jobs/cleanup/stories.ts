import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Stories over a day: media deleted from storage, the row soft-deleted, the user's statistics brought up to date. */
export default job({
  name: 'cleanup.stories',
  payload: cleanupPayload('stories', '24 hours'),
  timeout: cleanupTimeout,
  run: sweep,
});
