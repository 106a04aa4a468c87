import { serve, type ServerType } from '@hono/node-server';
import { Hono } from 'hono';
import { UsageError, codeOf } from '../base/errors.ts';
import type { Bridges } from '../bridges/bridges.ts';
import type { Worker } from '../queue/worker.ts';
import { health } from './health.ts';

/** How long a request may take to arrive with its whole body. */
const arrivalTimeoutMs = 10_000;

/** The routes of health.ts, and those of `others`. */
export function routes(worker: Worker, others: Hono[] = [], bridges?: Pick<Bridges, 'states'>): Hono {
  const http = new Hono();
  for (const each of [health(worker, bridges), ...others]) http.route('/', each);
  return http;
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
