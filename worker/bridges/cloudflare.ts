import type { App } from '../app.ts';
import type { CloudflareConfig } from '../base/config/cloudflare.ts';
import type { Sealer } from '../queue/client/add.ts';
import { supervise, type Bridge } from './bridge.ts';
import { runSession } from './cloudflare/session.ts';

/** Makes jobs of the messages of Cloudflare Queues, a bridge for each queue. Several processes may do so at once. */
export function startCloudflare(
  app: Pick<App, 'db' | 'log' | 'config'>,
  config: CloudflareConfig,
  sealer?: Sealer,
): Bridge[] {
  const { db } = app;
  return config.queues.map((queue) =>
    supervise(`cloudflare:${queue.id}`, app, (tell, signal) => runSession({ queue, config, db, sealer }, tell, signal)),
  );
}
