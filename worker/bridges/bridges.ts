import type { App } from '../app.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { sealerOf } from '../queue/client/add.ts';
import { repeat } from '../queue/fleet/repeat.ts';
import type { Registry } from '../queue/registry.ts';
import type { Bridge, BridgeState, Taken } from './bridge.ts';
import { startCloudflare } from './cloudflare.ts';
import { startDead, startRabbitmq } from './rabbitmq.ts';
import { startSqs } from './sqs.ts';

/** The bridges of a process: those whose settings are set. None of them keeps the worker from working. */
export type Bridges = {
  states(): BridgeState[];
  /** By the name of the bridge. */
  taken(): Record<string, Taken>;
  stop(): Promise<void>;
};

const sql = loadStatements(import.meta.dirname, 'bridges.sql', ['tell_bridges']);

/** @param worker its row says how the bridges are */
export function startBridges(app: App, worker: { id(): string }, registry: Registry): Bridges {
  const { config, db, log } = app;
  const sealer = sealerOf(registry, config.keyring);
  const bridges: Bridge[] = [
    ...(config.rabbitmq ? [startRabbitmq(app, config.rabbitmq, sealer)] : []),
    ...(config.rabbitmq?.dead ? [startDead(app, config.rabbitmq)] : []),
    ...(config.sqs ? startSqs(app, config.sqs, sealer) : []),
    ...(config.cloudflare ? startCloudflare(app, config.cloudflare, sealer) : []),
  ];
  const states = () => bridges.map((bridge) => bridge.state());
  const stopping = new AbortController();
  let told: string | undefined;
  const tell = async () => {
    const [id, text] = [worker.id(), JSON.stringify(states())];
    if (told === id + text) return;
    await query(db, sql.tell_bridges, { id, bridges: text });
    told = id + text;
  };
  if (bridges.length > 0) void repeat([{ everyMs: 1_000, work: tell }], log, stopping.signal);
  return {
    states,
    taken: () => Object.fromEntries(bridges.map((bridge) => [bridge.state().bridge, bridge.taken()])),
    async stop() {
      stopping.abort();
      await Promise.all(bridges.map((bridge) => bridge.stop()));
    },
  };
}
