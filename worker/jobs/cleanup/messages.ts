import { cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { sweep } from './sweep/sweep.ts';
import { job } from '../../queue/job.ts';

/**
 * Messages older than a year: the media is deleted from storage, the URLs are cleared. The row and its metadata stay.
 * Pinned messages, and those under legal hold, are kept.
 */
export default job({
  name: 'cleanup.messages',
  payload: cleanupPayload('messages', '365 days'),
  timeout: cleanupTimeout,
  run: sweep,
});
