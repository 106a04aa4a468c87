import { z } from 'zod';
import { deleteOrphans } from './sweep/orphans.ts';
import { cleanUp, cleanupPayload } from './sweep/run.ts';
import { job, minutes } from '../../queue/job.ts';

/** Objects that no row refers to. A dry run, unless ORPHANED_MEDIA_DELETE or the payload says otherwise. */
export default job({
  name: 'cleanup.orphaned_media',
  payload: cleanupPayload('orphaned_media', '7 days').extend({
    /** Of those that sql/cleanup/orphaned_media.sql knows, or deeper. Default: all of these. */
    prefixes: z.array(z.string().min(1)).min(1).optional(),
    /** It stops where a larger share of the objects seems to be nobody's. */
    maxShare: z.number().min(0).max(1).default(0.2),
  }),
  timeout: minutes(60),
  run: (context) =>
    cleanUp(context, deleteOrphans, {
      dryRun: context.payload.dryRun ?? !context.app.config.orphanedMediaDelete,
    }),
});
