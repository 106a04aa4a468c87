import { serve, type ServerType } from '@hono/node-server';
import { Hono } from 'hono';
import { within } from '../base/deadline.ts';
import { UsageError, codeOf } from '../base/errors.ts';
import type { Bridges } from '../bridges/bridges.ts';
import { version } from '../queue/fleet/version.ts';
import type { Worker } from '../queue/worker.ts';

const pingTimeoutMs = 2_000;
/** How long a request may take to arrive with its whole body. */
const arrivalTimeoutMs = 10_000;

/**
 * The routes, and those of `others`. `GET /health` answers 200 while this worker works (`degraded` if an incident holds
 * jobs, or a bridge is not connected), and 503 with the reason when it does not.
 */
export function routes(worker: Worker, others: Hono[] = [], bridges?: Pick<Bridges, 'states'>): Hono {
  const http = new Hono();
  http.get('/health', async (context) => {
    const reason = worker.trouble() ?? (await unreachable(worker));
    const incidents = worker.incidents();
    // A reason may name hosts, and this answers everybody.
    const ways =
      bridges?.states().map(({ bridge, connected, since, code }) => ({ bridge, connected, since, code })) ?? [];
    const degraded = incidents.length > 0 || ways.some(({ connected }) => !connected);
    const body = {
      status: reason ? 'unhealthy' : degraded ? 'degraded' : 'healthy',
      ...(reason ? { reason } : {}),
      ...(incidents.length > 0 ? { incidents } : {}),
      ...(ways.length > 0 ? { bridges: ways } : {}),
      timestamp: new Date().toISOString(),
      uptime: process.uptime(),
      version,
      worker: worker.id(),
      queues: worker.activity(),
    };
    return context.json(body, reason ? 503 : 200, { 'cache-control': 'no-store' });
  });
  for (const other of others) http.route('/', other);
  return http;
}

/** Asks on the engine's connections: handlers may hold all of theirs. */
async function unreachable(worker: Worker): Promise<string | undefined> {
  const answer = worker.ping().then(
    () => 'reached',
    () => 'refused',
  );
  const found = await within(pingTimeoutMs, answer);
  if (found === 'refused') return 'Postgres cannot be reached';
  return found ? undefined : `Postgres does not answer within ${pingTimeoutMs / 1_000} s`;
}

export type HttpServer = { port: number; close(): Promise<void> };

/** @throws UsageError if the port is taken */
export async function listen(
  http: Hono,
  { host, port, timeoutMs = arrivalTimeoutMs }: { host: string; port: number; timeoutMs?: number },
): Promise<HttpServer> {
  const limits = { requestTimeout: timeoutMs, headersTimeout: timeoutMs, connectionsCheckingInterval: timeoutMs / 5 };
  const server = await new Promise<ServerType>((resolve, reject) => {
    const starting = serve({ fetch: http.fetch, hostname: host, port, serverOptions: limits }, () => resolve(starting));
    starting.once('error', (error) =>
      reject(
        codeOf(error) === 'EADDRINUSE'
          ? new UsageError(`Port ${port} on ${host} is taken: set PORT to another, or to 0 for any`)
          : error,
      ),
    );
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        if ('closeAllConnections' in server) server.closeAllConnections();
      }),
  };
}
