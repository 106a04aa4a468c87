import { z } from 'zod';
import { maintainPrekeys } from './sweep/prekeys.ts';
import { cleanUp, cleanupPayload, cleanupTimeout } from './sweep/run.ts';
import { job } from '../../queue/job.ts';

/** Used prekeys are deleted after 30 days, and each device has a minimum of unused ones again, or is asked for them. */
export default job({
  name: 'cleanup.prekeys',
  payload: cleanupPayload('prekeys', '30 days').extend({
    minimum: z.int().min(1).max(100).default(10),
    /** Only devices with a greater id. A run whose time is over says so to the one that goes on. */
    after: z.guid().default('00000000-0000-0000-0000-000000000000'),
  }),
  timeout: cleanupTimeout,
  run: (context) => cleanUp(context, maintainPrekeys),
});
