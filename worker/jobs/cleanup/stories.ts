import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Stories older than a day: the media is deleted from storage, the row soft-deleted, the user's statistics updated. */
export default job({
  name: 'cleanup.stories',
  payload: cleanupPayload('stories', '24 hours'),
  timeout: cleanupTimeout,
  run: sweep,
});
