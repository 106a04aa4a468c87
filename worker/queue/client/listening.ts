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
export function createListening({ databaseUrl, wanted, heard, check, gaveUp }: ListeningOptions) {
  const closing = new AbortController();
  let session: Session | undefined;
  let opening: Promise<Session> | undefined;
  let beat: NodeJS.Timeout | undefined;

  /** The session, once it listens. Waits while Postgres is away. @throws an error that will not pass */
  async function open(): Promise<Session> {
    return session ?? (opening ??= keepTrying().finally(() => (opening = undefined)));
  }

  async function keepTrying(): Promise<Session> {
    closing.signal.throwIfAborted();
    const passing = (error: unknown) => (isTransient(error) ? {} : undefined);
    return withRetries(connect, passing, closing.signal, { waitMs: 100, longestMs: 5_000 });
  }

  async function connect(): Promise<Session> {
    const client = createClient(databaseUrl);
    // Each session has an id of its own: a session that is closing must not delete the registration of the next.
    const opened: Session = { client, id: randomUUID() };
    client.on('error', () => {});
    client.on('notification', ({ payload }) => heard(parse(payload)));
    client.on('end', () => lost(opened));
    try {
      await client.connect();
      const { ended } = await readNames(client);
      // By index, whatever the statistics of a fresh table say; for jit see engineSettings in fleet/connections.ts.
      await client.query(
        `set application_name = 'rowmill client'; set enable_seqscan = off; set jit = off; listen ${quoted(ended)}`,
      );
      await register(opened);
      await query(client, sql.delete_expired_listeners);
      closing.signal.throwIfAborted();
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    session = opened;
    let checks = 0;
    beat = setInterval(() => void tick(opened, ++checks), checkEveryMs);
    check();
    setTimeout(check, checkAgainAfterMs).unref();
    return opened;
  }

  async function tick(current: Session, checks: number): Promise<void> {
    if (wanted()) check();
    if (checks % renewEvery > 0) return;
    if (!wanted()) return leave(current);
    // If the query fails, the session is lost, and its end event handles that.
    const fresh = await answered(current, register(current)).catch(() => false);
    if (fresh) check();
  }

  function lost(ended: Session): void {
    if (session !== ended) return;
    session = undefined;
    clearInterval(beat);
    void reopen();
  }

  async function reopen(): Promise<void> {
    while (wanted() && !closing.signal.aborted) {
      try {
        await open();
        return;
      } catch (error) {
        // Pending waits reject. Listeners stay, since the connection was possible once.
        gaveUp(error);
        await sleep(reopenEveryMs, undefined, { signal: closing.signal }).catch(() => {});
      }
    }
  }

  async function leave(current: Session): Promise<void> {
    session = undefined;
    clearInterval(beat);
    await answered(current, query(current.client, sql.delete_listener, { id: current.id })).catch(() => {});
    await current.client.end().catch(() => {});
  }

  return {
    open,
    /** Reads some jobs on the session: so a query without an answer also means that the session is lost. */
    async read(ids: number[]): Promise<Job[]> {
      const current = await open();
      return answered(current, query<Job>(current.client, sql.read_waited, { ids }));
    },
    /** @param reason with which calls that wait for it to open reject */
    async close(reason: Error): Promise<void> {
      closing.abort(reason);
      await opening?.catch(() => {});
      if (session) await leave(session);
    },
  };
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
