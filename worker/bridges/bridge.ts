import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../app.ts';
import { loadStatements, query } from '../base/db/sql.ts';
import { within } from '../base/deadline.ts';
import { codeOf, messageOf } from '../base/errors.ts';
import { redactor } from '../base/log.ts';
import type { Outcome } from '../queue/ingest/ingest.ts';

/** A way in for messages of another queue, which works in the background. */
export type Bridge = { state(): BridgeState; taken(): Taken; stop(): Promise<void> };

/** How many messages became what, since the process began. */
export type Taken = Record<Outcome['outcome'], number>;

export type BridgeState = {
  bridge: string;
  connected: boolean;
  since: Date;
  /** Why it is not connected, as a code, and in words. */
  code?: string | undefined;
  reason?: string;
};

/** What a session tells: that it can take messages, and what became of those whose transaction is committed. */
export type Tell = { opened(): void; took(outcomes: readonly Pick<Outcome, 'outcome'>[]): void };

/** Takes messages until the signal aborts. @throws why it cannot go on */
export type RunSession = (tell: Tell, signal: AbortSignal) => Promise<void>;

/** A source that says when to come back. */
type Busy = { waitMs?: number | undefined };

const sql = loadStatements(import.meta.dirname, 'bridge.sql', ['reach_postgres']);

const shortestMs = 500;
const longestMs = 30_000;
/** A session that lasted this long has been a success. */
const successMs = 30_000;
const goodbyeMs = 10_000;

/**
 * Runs one session after another. When one ends, the next begins after a random wait, which may be twice as long each
 * time, and not before Postgres answers: a source counts how often it has delivered a message. A source that is busy is
 * not asked again before the time it says.
 */
export function supervise(
  bridge: string,
  { db, log, config }: Pick<App, 'db' | 'log' | 'config'>,
  run: RunSession,
): Bridge {
  const stopping = new AbortController();
  const { signal } = stopping;
  const redact = redactor(config.secrets);
  const taken: Taken = { created: 0, known: 0, rejected: 0 };
  let state: BridgeState = { bridge, connected: false, since: new Date() };

  const tell: Tell = {
    opened() {
      state = { bridge, connected: true, since: new Date() };
      log.info({ bridge }, 'bridge connected');
    },
    took(outcomes) {
      for (const { outcome } of outcomes) taken[outcome] += 1;
    },
  };
  const closed = (error: unknown) => {
    if (signal.aborted) return;
    const [code, reason] = [codeOf(error), redact(messageOf(error))];
    // While it stays away, it is told once.
    const level = state.connected || state.reason !== reason ? 'warn' : 'debug';
    log[level]({ bridge, err: error }, 'bridge is not connected, will try again');
    state = { bridge, connected: false, since: state.connected ? new Date() : state.since, code, reason };
  };

  async function runAll(): Promise<void> {
    for (let failures = 0; !signal.aborted; failures += 1) {
      const began = performance.now();
      let waitMs = 0;
      try {
        await query(db, sql.reach_postgres);
        await run(tell, signal);
      } catch (error) {
        closed(error);
        waitMs = (error as Busy | undefined)?.waitMs ?? 0;
      }
      if (performance.now() - began > successMs) failures = 0;
      const most = Math.min(longestMs, shortestMs * 2 ** failures);
      await sleep(waitMs + Math.random() * most, undefined, { signal }).catch(() => {});
    }
  }

  const running = runAll();
  return {
    state: () => state,
    taken: () => ({ ...taken }),
    async stop() {
      stopping.abort();
      await within(goodbyeMs, running);
    },
  };
}
