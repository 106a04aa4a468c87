import { z } from 'zod';
import { maintainPrekeys } from './sweep/prekeys.ts';
import { cleanUp, cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { job } from '../../queue/job.ts';

/** Deletes used prekeys after 30 days. Then each device gets a minimum of unused ones, or a request to make its own. */
export default job({
  name: 'cleanup.prekeys',
  payload: cleanupPayload('prekeys', '30 days').extend({
    minimum: z.int().min(1).max(100).default(10),
    /** Only devices with a greater id. A run that is out of time sets it for the job that continues. */
    after: z.guid().default('00000000-0000-0000-0000-000000000000'),
  }),
  timeout: cleanupTimeout,
  run: (context) => cleanUp(context, maintainPrekeys),
});
