import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { App } from '../app.ts';
import { createClient } from '../base/db/db.ts';
import { messageFor, type Telling } from './message.ts';

/** Without Postgres there are no jobs: a process that cannot reach it posts to ALERT_WEBHOOK_URL itself. */
type Outage = {
  /** Postgres answered. */
  over(): Promise<void>;
  /** Postgres did not answer. */
  goesOn(): Promise<void>;
};

/** Posts once when an outage has lasted for ALERT_OUTAGE_AFTER, and once when it is over. */
export function watchOutage(
  app: Pick<App, 'config' | 'log' | 'webhook'>,
  databaseUrl: string,
  signal: AbortSignal,
): Outage {
  const { config, log } = app;
  const { webhookUrl, outageAfterMs } = config.alerts;
  let since: Date | undefined;
  let isTold = false;

  async function post(state: 'opened' | 'resolved', began: Date): Promise<void> {
    const { event } = messageFor([telling(state, began)], config.publicUrl);
    const secrets = config.webhook.secret === undefined ? [] : [config.webhook.secret];
    const message = { url: webhookUrl!, secrets, body: JSON.stringify(event) };
    await app.webhook[0]?.send(message, { key: randomUUID(), signal });
  }

  async function goesOn(): Promise<void> {
    since ??= new Date();
    if (isTold || webhookUrl === undefined || Date.now() - since.getTime() < outageAfterMs) return;
    // The pool may only be exhausted.
    if (await answers(databaseUrl)) return;
    await post('opened', since);
    isTold = true;
  }

  async function over(): Promise<void> {
    const began = since;
    since = undefined;
    if (!isTold || began === undefined) return;
    isTold = false;
    await post('resolved', began);
  }

  const quietly = (work: () => Promise<void>) => () =>
    work().catch((error: unknown) => log.warn({ err: error }, 'the alert of an outage could not be posted'));
  return { over: quietly(over), goesOn: quietly(goesOn) };
}

function telling(state: 'opened' | 'resolved', began: Date): Telling {
  return {
    id: 0,
    condition: 'postgres_unreachable',
    subject: hostname(),
    what: `The worker on ${hostname()} (pid ${process.pid}) cannot reach Postgres`,
    cause: 'Postgres is down, refuses connections, or the network between has a fault.',
    solution: 'See whether Postgres runs. The worker goes on by itself when it is back.',
    query: 'select 1',
    count: 1,
    opened_at: began,
    resolved_at: state === 'resolved' ? new Date() : null,
    state,
  };
}

async function answers(databaseUrl: string): Promise<boolean> {
  const client = createClient(databaseUrl);
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
