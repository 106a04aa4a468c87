import { z } from 'zod';
import { group } from './group.ts';
import { flag } from './values.ts';

export const cleanup = group({
  settings: {
    PREKEY_MODE: z.enum(['generate', 'request']).default('generate'),
    ORPHANED_MEDIA_DELETE: flag.optional(),
  },
  read: (env) => ({
    prekeyMode: env.PREKEY_MODE,
    /** If false, cleanup.orphaned_media only reports what it would delete. */
    orphanedMediaDelete: env.ORPHANED_MEDIA_DELETE ?? false,
  }),
});
