import { cpus, freemem, totalmem } from 'node:os';
import { Hono, type MiddlewareHandler } from 'hono';
import { cached } from '../base/cached.ts';
import type { Config } from '../base/config/config.ts';
import type { Bridges } from '../bridges/bridges.ts';
import type { FleetReader } from '../metrics/fleet.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { memory } from './health.ts';
import { holderOf } from './ingress/access.ts';

type Parts = {
  config: Pick<Config, 'metricsToken' | 'http'>;
  readFleet: FleetReader;
  metrics: Metrics;
  bridges?: Pick<Bridges, 'taken'>;
};

const noStore = { 'cache-control': 'no-store' };
const cpuMs = 1_000;

/**
 * `GET /metrics/queues`, `/metrics/system` and `/metrics`. README.md says who may read them. However many ask, Postgres
 * is asked once in five seconds.
 */
export function metricsRoutes({ config, readFleet, metrics, bridges }: Parts): Hono {
  const http = new Hono();
  const { metricsToken } = config;
  const guard = withToken(metricsToken);
  const cpu = createCpu();

  http.get('/metrics/queues', guard, async (context) => {
    const { fleet } = await readFleet();
    const timestamp = new Date().toISOString();
    if (!fleet)
      return context.json({ error_code: 'unavailable', error: 'Postgres does not answer', timestamp }, 503, noStore);
    const queues = fleet.queues.map(({ queue, waiting, active, completed, failed, delayed, paused }) => ({
      name: queue,
      waiting,
      active,
      completed,
      failed,
      delayed,
      paused,
    }));
    return context.json({ queues, timestamp }, 200, noStore);
  });

  http.get('/metrics/system', guard, async (context) => {
    const [total, free] = [totalmem(), freemem()];
    const used = total - free;
    const body = {
      cpu: { usage: await cpu(), count: cpus().length },
      memory: { total, free, used, usagePercent: rounded((100 * used) / total) },
      process: { uptime: process.uptime(), memoryUsage: memory(), pid: process.pid },
    };
    return context.json(body, 200, noStore);
  });

  if (metricsToken !== undefined || isLoopback(config.http.host))
    http.get('/metrics', guard, async (context) => {
      const text = await metrics.text(await readFleet(), bridges?.taken());
      return context.body(text, 200, { ...noStore, 'content-type': metrics.contentType });
    });
  return http;
}

/** Prometheus sends it with `authorization: {credentials: ...}`. */
function withToken(secret: string | undefined): MiddlewareHandler {
  if (secret === undefined) return async (_, next) => next();
  const tokens = [{ name: 'metrics', secret, kinds: undefined }];
  return async (context, next) => {
    const [, token] = /^bearer +(.+)$/i.exec(context.req.header('authorization')?.trim() ?? '') ?? [];
    if (token !== undefined && holderOf(token, tokens)) return next();
    const error = 'Send the header Authorization: Bearer, with METRICS_TOKEN';
    return context.json({ error_code: 'unauthorized', error }, 401, {
      ...noStore,
      'www-authenticate': 'Bearer realm="rowmill metrics"',
    });
  };
}

/** Only those who are on this machine can ask. */
const isLoopback = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|::1|\[::1\])$/.test(host);

const rounded = (percent: number) => Math.round(percent * 10) / 10;

/** The load of all cores since it was last asked, in per cent. The first answer is since the machine started. */
function createCpu(): () => Promise<number> {
  let last = { idle: 0, all: 0 };
  return cached(cpuMs, async () => {
    const now = { idle: 0, all: 0 };
    for (const { times } of cpus()) {
      now.idle += times.idle;
      now.all += times.user + times.nice + times.sys + times.idle + times.irq;
    }
    const all = now.all - last.all;
    const busy = all > 0 ? 1 - (now.idle - last.idle) / all : 0;
    last = now;
    return rounded(100 * Math.max(0, busy));
  });
}
