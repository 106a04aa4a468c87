import { join, relative } from 'node:path';
import { createApp, type App } from './app.ts';
import { loadConfig, type Config } from './base/config.ts';
import { withSchema } from './base/address.ts';
import { UsageError } from './base/errors.ts';
import { createLog, type Log } from './base/log.ts';
import { onParentGone, onStop } from './base/signals.ts';
import { removeDeadTempDirs } from './base/temp.ts';
import { openEmbeddedPostgres } from './embedded/postgres.ts';
import { listen, routes, type HttpServer } from './http/server.ts';
import { install } from './queue/install.ts';
import { loadRegistry } from './queue/registry.ts';
import { startWorker } from './queue/worker.ts';

export type Service = { port: number; databaseUrl: string; stop(): Promise<void> };

/** The whole program, in the order in which it comes up: Postgres, its tables, the worker, HTTP. */
export async function startService(config: Config, log: Log): Promise<Service> {
  const postgres = await openPostgres(config);
  const applied = await install(postgres.url);
  if (applied.length > 0) log.info({ applied }, 'migrated');

  const app = createApp(config, postgres.url, log);
  void tellOfFfmpeg(app);
  const tidying = keepTidy(config.tempDir);
  const worker = await startWorker(app, postgres.url, await loadRegistry());
  const http = await listenSomewhere(routes(app, worker), config, log).catch(async (error: unknown) => {
    await worker.stop();
    await app.close();
    await postgres.stop();
    throw error;
  });

  return {
    port: http.port,
    databaseUrl: postgres.url,
    async stop() {
      clearInterval(tidying);
      await worker.stop();
      await http.close();
      await app.close();
      await postgres.stop();
    },
  };
}

/** Runs until SIGTERM or SIGINT, then shuts down in order. A signal two seconds later or more ends it at once. @returns the exit code */
export async function main(): Promise<number> {
  const config = loadConfig();
  const log = createLog(config);
  // graphile-worker leaks rejections when Postgres goes away; its runner is replaced then, and the process goes on.
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));

  const stopping = Promise.withResolvers<string>();
  onStop(['SIGTERM', 'SIGINT'], { first: stopping.resolve, again: () => process.exit(1) });
  onParentGone(() => stopping.resolve('none: npm and its shell have ended'));
  const service = await startService(config, log);
  log.info({ signal: await stopping.promise }, 'stopping: running jobs may finish');
  await service.stop();
  log.info('stopped');
  return 0;
}

async function openPostgres(config: Config): Promise<{ url: string; stop(): Promise<void> }> {
  if (config.databaseUrl) return { url: config.databaseUrl, stop: async () => {} };
  if (config.production)
    throw new UsageError('DATABASE_URL: must be set in production; the embedded Postgres is for development');
  const embedded = await openEmbeddedPostgres(config.dataDir);
  const file = relative('', join(config.dataDir, 'postgres.url'));
  process.stderr.write(`Embedded Postgres for development: psql "$(cat ${file})"
`);
  return { ...embedded, url: withSchema(embedded.url, config.schema) };
}

/** In the background, for a busy machine takes seconds: what is wrong is told before a job meets it. Publishing needs no ffmpeg. */
async function tellOfFfmpeg({ config, ffmpeg, log }: App): Promise<void> {
  if (config.queues && !config.queues.includes('media')) return;
  try {
    const { version, programs, sandbox, missing, toneMapping } = await ffmpeg.capabilities();
    const found = { version, from: programs.ffmpeg.from, sandbox, missing, tone_mapping: toneMapping };
    if (missing.length > 0) log.warn(found, 'ffmpeg found: media jobs that need what is missing will fail');
    else if (sandbox === 'none') log.warn(found, 'ffmpeg found: it runs without a sandbox');
    else log.info(found, 'ffmpeg found');
  } catch (error) {
    log.warn({ err: error }, 'no ffmpeg: media jobs that need one will fail');
  }
}

const tidyMs = 30_000;

/** What dead processes left is removed, now and from time to time. */
function keepTidy(tempDir: string): NodeJS.Timeout {
  void removeDeadTempDirs(tempDir);
  return setInterval(() => void removeDeadTempDirs(tempDir), tidyMs).unref();
}

/** On the port that was asked for; where none was and the usual one is taken, on any. */
async function listenSomewhere(http: ReturnType<typeof routes>, config: Config, log: Log): Promise<HttpServer> {
  const { host, port, chosen } = config.http;
  const server = await listen(http, { host, port }).catch((error: unknown) => {
    if (chosen || !(error instanceof UsageError)) throw error;
    return listen(http, { host, port: 0 });
  });
  log.info({ host, port: server.port }, 'listening');
  return server;
}
