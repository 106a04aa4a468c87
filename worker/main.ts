import { once } from 'node:events';
import { createApp, type App } from './app.ts';
import { loadConfig, type Config } from './base/config/config.ts';
import { withSchema } from './base/address.ts';
import { UsageError } from './base/errors.ts';
import { within } from './base/deadline.ts';
import { endLogFiles } from './base/log-files.ts';
import { createLog, type Log } from './base/log.ts';
import { waitForPostgres } from './base/db/reach.ts';
import { stackOf } from './base/stack.ts';
import { onParentGone, onStop } from './base/signals.ts';
import { removeDeadTempDirs } from './base/temp.ts';
import { psqlLine } from './embedded/connection.ts';
import { openEmbeddedPostgres } from './embedded/postgres.ts';
import { startAlerts } from './alerts/alerts.ts';
import { claimClock } from './alerts/pings.ts';
import { startBridges } from './bridges/bridges.ts';
import { callbacks } from './http/callbacks.ts';
import { connecting } from './http/connect.ts';
import { dashboard } from './http/dashboard/dashboard.ts';
import { jobs } from './http/jobs.ts';
import { metricsRoutes } from './http/metrics.ts';
import { listen, routes, type HttpServer } from './http/server.ts';
import { unsubscribing } from './http/unsubscribe.ts';
import { fleetReader } from './metrics/fleet.ts';
import { Metrics } from './metrics/metrics.ts';
import { Traces } from './metrics/traces.ts';
import { failCulprits, logOfCulprits } from './queue/run/culprit.ts';
import { install } from './queue/install/install.ts';
import { loadRegistry } from './queue/registry.ts';
import { startWorker } from './queue/worker.ts';
import { doubtsOf } from './doubts.ts';

export type Service = { port: number; databaseUrl: string; stop(): Promise<void> };

/**
 * Starts everything, in this order: the kinds, Postgres, its tables, the worker, HTTP. Whichever step fails, what is
 * open already is closed in reverse order.
 * @param signal aborts the start at any step
 */
export async function startService(
  config: Config,
  log: Log,
  signal: AbortSignal = new AbortController().signal,
): Promise<Service> {
  const open = new AsyncDisposableStack();
  /** What a step opens is closed at the end; also when it was given up, and opens it after that. */
  async function step<T>(begin: () => Promise<T>, close: (opened: T) => unknown = () => {}): Promise<T> {
    signal.throwIfAborted();
    const work = begin();
    try {
      const opened = await unlessAborted(work, signal);
      open.defer(async () => void (await close(opened)));
      return opened;
    } catch (error) {
      work.then(close).catch(() => {});
      // What fails while the start is given up, such as a connection, is no failure of its own.
      throw signal.aborted ? signal.reason : error;
    }
  }
  try {
    const registry = await step(() => loadRegistry(config.jobsDir));
    const postgres = await step(
      () => openPostgres(config),
      ({ stop }) => stop(),
    );
    if (config.databaseUrl) await step(() => waitForPostgres(postgres.url, { log, signal }));
    const applied = await step(() => install(postgres.url, [], config.migrationsDir));
    if (applied.length > 0) log.info({ applied }, 'migrated');

    const metrics = open.adopt(new Metrics(registry), (each) => each.close());
    const app = createApp(config, postgres.url, log, metrics.notifications.measure);
    open.defer(app.close);
    void tellOfFfmpeg(app);
    void tellOfSettings(app);
    open.adopt(keepTidy(config.tempDir), clearInterval);
    const claims = claimClock();
    const worker = await step(
      () => startWorker(app, postgres.url, registry, { observers: [claims, metrics.observer, new Traces()] }),
      (started) => started.stop(),
    );
    const bridges = open.adopt(startBridges(app, worker, registry), (each) => each.stop());
    const pages = open.adopt(dashboard(app, postgres.url, { worker, registry, bridges }), (each) => each.close());
    const watching = metricsRoutes({ config, readFleet: fleetReader(app.db, () => worker.ping()), metrics, bridges });
    const others = [callbacks(app), connecting(app), unsubscribing(app), jobs(app, registry), watching, pages.http];
    open.adopt(startAlerts(app, { databaseUrl: postgres.url, registry, claims }), (each) => each.stop());
    const http = await step(
      () => listenSomewhere(routes(worker, others, bridges), config, log),
      ({ close }) => close(),
    );
    // These stop first: while the worker's jobs finish, /health still answers.
    open.defer(() => worker.stop());
    open.defer(() => bridges.stop());
    return { port: http.port, databaseUrl: postgres.url, stop: () => open.disposeAsync() };
  } catch (error) {
    await open.disposeAsync().catch((cause: unknown) => log.error({ err: cause }, 'could not close all that was open'));
    throw error;
  }
}

/** How long a step that is under way may take to end, so that what it opened can be closed in order. */
const stepPatienceMs = 3_000;

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const given = Promise.withResolvers<never>();
  const giveUp = () => void setTimeout(() => given.reject(signal.reason), stepPatienceMs).unref();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([work, given.promise]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/**
 * Runs until SIGTERM or SIGINT, then shuts down in order. A second signal, two seconds later or more, ends it at once.
 * @param given goes before what the environment says
 * @returns the exit code
 */
export async function main(given: Partial<Config> = {}): Promise<number> {
  const config = { ...loadConfig(), ...given };
  const log = createLog(config);
  const stopping = new AbortController();
  let code = 0;
  const stop = (signal: string) => {
    if (!stopping.signal.aborted) log.info({ signal }, 'stopping: running jobs may finish');
    stopping.abort(new Error(signal));
  };
  onUncaught(log, () => {
    code = 1;
    stop('none: uncaught exception');
  });
  onStop(['SIGTERM', 'SIGINT'], { first: stop, again: () => process.exit(1) });
  onParentGone(() => stop('none: npm and its shell have ended'));
  try {
    const service = await startService(config, log, stopping.signal);
    // PM2 waits for this word: https://pm2.keymetrics.io/docs/usage/signals-clean-restart/
    process.send?.('ready');
    if (!stopping.signal.aborted) await once(stopping.signal, 'abort');
    await service.stop();
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    // A start that the signal aborted throws the signal's reason: that is no failure.
    if (error !== stopping.signal.reason) {
      log.error({ err: error, stack: stackOf(error) }, 'could not stop in order');
      code = 1;
    }
  }
  log.info('stopped');
  await within(2_000, endLogFiles());
  return code;
}

/**
 * Logs an uncaught exception, and fails the job whose handler threw it. Then the process ends, because its state is
 * unknown.
 */
export function onUncaught(log: Log, end: () => void): void {
  process.on('uncaughtException', (error) => {
    logOfCulprits(log).fatal({ err: error, stack: stackOf(error), jobs: failCulprits(error) }, 'uncaught exception');
    end();
  });
  // graphile-worker leaks rejections when Postgres goes away; its runner is replaced then, and the process goes on.
  process.on('unhandledRejection', (error) =>
    logOfCulprits(log).error({ err: error, stack: stackOf(error) }, 'unhandled rejection'),
  );
}

async function openPostgres(config: Config): Promise<{ url: string; stop(): Promise<void> }> {
  if (config.databaseUrl) return { url: config.databaseUrl, stop: async () => {} };
  if (config.production)
    throw new UsageError('DATABASE_URL: must be set in production; the embedded Postgres is for development');
  const embedded = await openEmbeddedPostgres(config.dataDir);
  process.stderr.write(`Embedded Postgres for development: ${psqlLine(config)}\n`);
  return { ...embedded, url: withSchema(embedded.url, config.schema) };
}

/**
 * Runs in the background, because it takes seconds on a busy machine. The log says what is wrong before a job fails.
 * Publishing needs no ffmpeg.
 */
async function tellOfFfmpeg(app: App): Promise<void> {
  const { config, log } = app;
  if (config.queues && !config.queues.includes('media')) return;
  try {
    const { version, programs, sandbox, missing, toneMapping } = await app.ffmpeg.capabilities();
    const found = { version, from: programs.ffmpeg.from, sandbox, missing, tone_mapping: toneMapping };
    if (missing.length > 0) log.warn(found, 'ffmpeg found: media jobs that need what is missing will fail');
    else if (sandbox === 'none') log.warn(found, 'ffmpeg found: it runs without a sandbox');
    else log.info(found, 'ffmpeg found');
  } catch (error) {
    log.warn({ err: error }, 'ffmpeg cannot be used: media jobs that need it will wait');
  }
}

/** Runs in the background, too. */
async function tellOfSettings({ config, log }: App): Promise<void> {
  for (const { setting, what, fix } of await doubtsOf(config))
    log.warn({ setting, detail: what, fix }, 'a setting is wrong');
}

const tidyMs = 30_000;

/** Removes what dead processes left, now and from time to time. */
function keepTidy(tempDir: string): NodeJS.Timeout {
  void removeDeadTempDirs(tempDir);
  return setInterval(() => void removeDeadTempDirs(tempDir), tidyMs).unref();
}

/** Listens on the port that was set. If none was set, and the default port is taken, on any free one. */
async function listenSomewhere(http: ReturnType<typeof routes>, config: Config, log: Log): Promise<HttpServer> {
  const { host, port, chosen } = config.http;
  const server = await listen(http, { host, port }).catch((error: unknown) => {
    if (chosen || !(error instanceof UsageError)) throw error;
    return listen(http, { host, port: 0 });
  });
  log.info({ host, port: server.port }, 'listening');
  return server;
}
