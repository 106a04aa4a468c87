import { resolve } from 'node:path';
import { group } from './group.ts';
import { secret, text } from './values.ts';

const shortest = 16;

/** Who may read metrics over HTTP, and where log files are. */
export const monitor = group({
  settings: {
    METRICS_TOKEN: secret.refine(
      (value) => value === undefined || value.length >= shortest,
      `must have ${shortest} characters or more`,
    ),
    LOG_DIR: text.optional(),
  },
  read: (env) => ({
    metricsToken: env.METRICS_TOKEN,
    /** For error.log and combined.log. Undefined: no files. */
    logDir: env.LOG_DIR && resolve(env.LOG_DIR),
  }),
});
