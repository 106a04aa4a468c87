import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { z } from 'zod';
import { group } from './group.ts';
import { integer, text } from './values.ts';

/** The process, its folders and its HTTP server. */
export const process = group({
  settings: {
    NODE_ENV: z.enum(['development', 'test', 'production']).default('development'),
    LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
    DATA_DIR: text.default('.data'),
    TEMP_DIR: text.optional(),
    JOBS_DIR: text.optional(),
    MIGRATIONS_DIR: text.optional(),
    SHUTDOWN_TIMEOUT: integer(0, 3_600_000).default(25_000),
    PORT: integer(0, 65_535).optional(),
    HEALTH_CHECK_PORT: integer(0, 65_535).optional(),
    HOST: text.default('127.0.0.1'),
  },
  read(env) {
    const port = env.PORT ?? env.HEALTH_CHECK_PORT;
    return {
      production: env.NODE_ENV === 'production',
      logLevel: env.LOG_LEVEL,
      dataDir: resolve(env.DATA_DIR),
      tempDir: env.TEMP_DIR ?? tmpdir(),
      /** Kinds of the user's own, and the migrations of their tables. */
      jobsDir: env.JOBS_DIR && resolve(env.JOBS_DIR),
      migrationsDir: env.MIGRATIONS_DIR && resolve(env.MIGRATIONS_DIR),
      shutdownTimeoutMs: env.SHUTDOWN_TIMEOUT,
      http: { host: env.HOST, port: port ?? 3000, chosen: port !== undefined },
    };
  },
});
