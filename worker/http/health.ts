import { Hono } from 'hono';
import { cached } from '../base/cached.ts';
import { within } from '../base/deadline.ts';
import type { Bridges } from '../bridges/bridges.ts';
import { version } from '../queue/fleet/version.ts';
import type { Worker } from '../queue/worker.ts';

const pingTimeoutMs = 2_000;
/** Balancers ask often, and anybody may ask: Postgres is asked once a second at most. */
const freshMs = 1_000;

/**
 * `GET /` says what this is. `GET /health` answers 200 while this worker works (`degraded` if an incident holds jobs,
 * or a bridge is not connected), and 503 with the reason when it does not.
 */
export function health(worker: Worker, bridges?: Pick<Bridges, 'states'>): Hono {
  const http = new Hono();
  const unreachable = cached(freshMs, () => findUnreachable(worker));
  http.get('/', (context) =>
    context.json({
      service: 'rowmill',
      version,
      status: worker.trouble() === undefined ? 'running' : 'in trouble',
      uptime: process.uptime(),
      timestamp: new Date().toISOString(),
      queues: worker.queues,
      endpoints: ['GET /health', 'GET /metrics/queues', 'GET /metrics/system', 'GET /metrics', 'POST /jobs'],
    }),
  );
  http.get('/health', async (context) => {
    const reason = worker.trouble() ?? (await unreachable());
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
      memory: memory(),
      version,
      worker: worker.id(),
      queues: worker.activity(),
    };
    return context.json(body, reason ? 503 : 200, { 'cache-control': 'no-store' });
  });
  return http;
}

/** Bytes. */
export function memory() {
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  return { rss, heapTotal, heapUsed, external };
}

/** Asks on the engine's connections: handlers may hold all of theirs. */
async function findUnreachable(worker: Worker): Promise<string | undefined> {
  const answer = worker.ping().then(
    () => 'reached',
    () => 'refused',
  );
  const found = await within(pingTimeoutMs, answer);
  if (found === 'refused') return 'Postgres cannot be reached';
  return found ? undefined : `Postgres does not answer within ${pingTimeoutMs / 1_000} s`;
}
