import type { App } from '../app.ts';
import { isTransient } from '../base/db/db.ts';
import { within } from '../base/deadline.ts';
import { sealerOf } from '../queue/client/add.ts';
import { repeat } from '../queue/fleet/repeat.ts';
import type { Registry } from '../queue/registry.ts';
import { watchOutage } from './outage.ts';
import { pingFleet, pingSchedules } from './pings.ts';
import { sweepAlerts } from './sweep.ts';

const pingEveryMs = 2_000;
/** A sweep reads all jobs that wait or are dead: it may cost five per cent of a connection. */
const restFactor = 20;
const stopPatienceMs = 2_000;

/**
 * Tells people what is wrong, and services outside that all is well. Nothing here holds up a job.
 * @param claims whether this process has claimed jobs lately
 */
export function startAlerts(
  app: App,
  { databaseUrl, registry, claims }: { databaseUrl: string; registry: Registry; claims: { lately(): boolean } },
): { stop(): Promise<void> } {
  const { config, log } = app;
  const { sweepMs } = config.alerts;
  const stopping = new AbortController();
  const { signal } = stopping;
  const sealer = sealerOf(registry, config.keyring);
  const outage = watchOutage(app, databaseUrl, signal);
  let restUntil = 0;

  async function sweep(): Promise<void> {
    const began = performance.now();
    if (began < restUntil) return;
    try {
      await sweepAlerts(app, sealer);
      await outage.over();
    } catch (error) {
      if (isTransient(error)) await outage.goesOn();
      throw error;
    }
    const ms = performance.now() - began;
    restUntil = began + ms * restFactor;
  }

  async function ping(): Promise<void> {
    await pingSchedules(app, signal);
    await pingFleet(app, claims.lately(), signal);
  }

  const chores = [
    { everyMs: sweepMs, work: sweep },
    { everyMs: pingEveryMs, work: ping },
  ];
  const done = repeat(chores, log, signal);
  return {
    async stop() {
      stopping.abort();
      await within(stopPatienceMs, done);
    },
  };
}
