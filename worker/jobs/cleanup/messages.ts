import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/** Messages over a year: media deleted from storage, URLs cleared. The row and its metadata stay; so does what is pinned or under legal hold. */
export default job({
  name: 'cleanup.messages',
  payload: cleanupPayload('messages', '365 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
