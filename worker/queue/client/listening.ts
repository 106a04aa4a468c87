import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, isTransient, type Client } from '../../base/db/db.ts';
import { readNames } from '../../base/db/names.ts';
import { loadStatements, query, quoted } from '../../base/db/sql.ts';
import { withRetries } from '../../base/retry.ts';
import type { Job } from './operate.ts';

const sql = loadStatements(import.meta.dirname, 'listening.sql', [
  'register_listener',
  'delete_expired_listeners',
  'delete_listener',
  'read_waited',
]);

/** A job that has just ended: its transaction has committed. */
export type Ended = { id: number; queue: string; status: 'completed' | 'failed' | 'cancelled' };

export type ListeningOptions = {
  databaseUrl: string;
  /** Whether anybody waits or listens. */
  wanted: () => boolean;
  heard: (jobs: Ended[]) => void;
  /** Jobs may have ended without a notification: read them. */
  check: () => void;
  /** The session is lost, for a reason that will not pass. */
  gaveUp: (error: unknown) => void;
};

const checkEveryMs = 5_000;
const checkAgainAfterMs = 500;
/** In checks: every 20 s. A registration is valid for a minute. */
const renewEvery = 4;
const answerWithinMs = 15_000;
const reopenEveryMs = 5_000;

/**
 * The one session by which a client hears that jobs ended. It is opened at first need, reopened when it is lost, and
 * closed soon after nobody needs it any more: while it is registered, workers pay for a NOTIFY.
 *
 * Missed notifications are made up for by reading the rows: when the session is (re)opened, for everything before; half
 * a second later, for statements that were under way and did not see the registration; and every five seconds, for
 * longer transactions and for deleted jobs.
 */
export class Listening {
  readonly #options: ListeningOptions;
  readonly #closing = new AbortController();
  #session: Session | undefined;
  #opening: Promise<Session> | undefined;
  #beat: NodeJS.Timeout | undefined;

  constructor(options: ListeningOptions) {
    this.#options = options;
  }

  /** The session, once it listens. Waits while Postgres is away. @throws an error that will not pass */
  async open(): Promise<Session> {
    return this.#session ?? (this.#opening ??= this.#keepTrying().finally(() => (this.#opening = undefined)));
  }

  async #keepTrying(): Promise<Session> {
    const { signal } = this.#closing;
    signal.throwIfAborted();
    const passing = (error: unknown) => (isTransient(error) ? {} : undefined);
    return withRetries(() => this.#connect(), passing, signal, { waitMs: 100, longestMs: 5_000 });
  }

  async #connect(): Promise<Session> {
    const client = createClient(this.#options.databaseUrl);
    // Each session has an id of its own: a session that is closing must not delete the registration of the next.
    const opened: Session = { client, id: randomUUID() };
    client.on('error', () => {});
    client.on('notification', ({ payload }) => this.#options.heard(parse(payload)));
    client.on('end', () => this.#lost(opened));
    try {
      await client.connect();
      const { ended } = await readNames(client);
      // By index, whatever the statistics of a fresh table say; for jit see engineSettings in fleet/connections.ts.
      await client.query(
        `set application_name = 'rowmill client'; set enable_seqscan = off; set jit = off; listen ${quoted(ended)}`,
      );
      await register(opened);
      await query(client, sql.delete_expired_listeners);
      this.#closing.signal.throwIfAborted();
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    this.#begin(opened);
    return opened;
  }

  #begin(opened: Session): void {
    const { check } = this.#options;
    this.#session = opened;
    let checks = 0;
    this.#beat = setInterval(() => void this.#tick(opened, ++checks), checkEveryMs);
    check();
    setTimeout(check, checkAgainAfterMs).unref();
  }

  async #tick(current: Session, checks: number): Promise<void> {
    const { wanted, check } = this.#options;
    if (wanted()) check();
    if (checks % renewEvery > 0) return;
    if (!wanted()) return this.#leave(current);
    // If the query fails, the session is lost, and its end event handles that.
    const fresh = await answered(current, register(current)).catch(() => false);
    if (fresh) check();
  }

  #lost(ended: Session): void {
    if (this.#session !== ended) return;
    this.#end();
    void this.#reopen();
  }

  #end(): void {
    this.#session = undefined;
    clearInterval(this.#beat);
  }

  async #reopen(): Promise<void> {
    const { signal } = this.#closing;
    while (this.#options.wanted() && !signal.aborted) {
      try {
        await this.open();
        return;
      } catch (error) {
        // Pending waits reject. Listeners stay, since the connection was possible once.
        this.#options.gaveUp(error);
        await sleep(reopenEveryMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #leave(current: Session): Promise<void> {
    this.#end();
    await answered(current, query(current.client, sql.delete_listener, { id: current.id })).catch(() => {});
    await current.client.end().catch(() => {});
  }

  /** Reads some jobs on the session: so a query without an answer also means that the session is lost. */
  async read(ids: number[]): Promise<Job[]> {
    const current = await this.open();
    return answered(current, query<Job>(current.client, sql.read_waited, { ids }));
  }

  /** @param reason with which calls that wait for it to open reject */
  async close(reason: Error): Promise<void> {
    this.#closing.abort(reason);
    await this.#opening?.catch(() => {});
    if (this.#session) await this.#leave(this.#session);
  }
}

type Session = { client: Client; id: string };

/** @returns whether it was not registered, or no longer */
async function register({ client, id }: Session): Promise<boolean> {
  const [row] = await query<{ fresh: boolean }>(client, sql.register_listener, { id });
  return row!.fresh;
}

/** Ends a session that does not answer: its network may have vanished without an error. */
async function answered<T>({ client }: Session, answer: Promise<T>): Promise<T> {
  const timer = setTimeout(() => void client.end().catch(() => {}), answerWithinMs);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
  }
}

const ends: readonly unknown[] = ['completed', 'failed', 'cancelled'] satisfies Ended['status'][];

/** Anybody may send notifications: those that are not ours are ignored. */
function parse(payload: string | undefined): Ended[] {
  const { queue, status, ids } = objectOf(payload);
  if (typeof queue !== 'string' || !ends.includes(status) || !Array.isArray(ids)) return [];
  if (!ids.every((id) => typeof id === 'number')) return [];
  return ids.map((id) => ({ id, queue, status: status as Ended['status'] }));
}

function objectOf(json = ''): Record<string, unknown> {
  try {
    return { ...(JSON.parse(json) as object) };
  } catch {
    return {};
  }
}
