import { z } from 'zod';
import { deleteOrphans } from './sweep/orphans.ts';
import { cleanUp, cleanupPayload } from './sweep/run.ts';
import { job, minutes } from '../../queue/job.ts';

/** Deletes objects that no row refers to. A dry run, unless ORPHANED_MEDIA_DELETE or the payload says otherwise. */
export default job({
  name: 'cleanup.orphaned_media',
  payload: cleanupPayload('orphaned_media', '7 days').extend({
    /** Prefixes that sql/cleanup/orphaned_media.sql knows, or longer ones. Default: all that it knows. */
    prefixes: z.array(z.string().min(1)).min(1).optional(),
    /** The run fails if a larger share of the objects seems to be orphaned. */
    maxShare: z.number().min(0).max(1).default(0.2),
  }),
  timeout: minutes(60),
  run: (context) =>
    cleanUp(context, deleteOrphans, {
      dryRun: context.payload.dryRun ?? !context.app.config.orphanedMediaDelete,
    }),
});
