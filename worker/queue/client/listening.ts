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
  /** Whether there is anybody to listen for. */
  wanted: () => boolean;
  heard: (jobs: Ended[]) => void;
  /** Something may have ended unheard. */
  look: () => void;
  /** The session is lost, and for a reason that will not go away by itself. */
  gaveUp: (error: unknown) => void;
};

const lookEveryMs = 5_000;
const lookAgainAfterMs = 500;
/** In looks: every 20 s, of the minute that a row counts. */
const renewEvery = 4;
const answerWithinMs = 15_000;
const reopenEveryMs = 5_000;

/**
 * The one session by which a client hears that jobs ended. It is opened at first need, opened again when it is lost, and closed
 * soon after nobody needs it any more: as long as it is registered, workers pay for a NOTIFY.
 *
 * What was missed is looked for: when the session is (re)opened, for all that went before; half a second later, for statements that were
 * under way and did not see us registered; and every five seconds, for transactions that took longer, and for jobs that were deleted.
 */
export function createListening({ databaseUrl, wanted, heard, look, gaveUp }: ListeningOptions) {
  const closing = new AbortController();
  let session: Session | undefined;
  let opening: Promise<Session> | undefined;
  let beat: NodeJS.Timeout | undefined;

  /** The session, once it listens. Waits for a Postgres that is not there. @throws what will not go away by itself */
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
    // An id for each session: one that is being left must not take the registration of the next with it.
    const opened: Session = { client, id: randomUUID() };
    client.on('error', () => {});
    client.on('notification', ({ payload }) => heard(parse(payload)));
    client.on('end', () => lost(opened));
    try {
      await client.connect();
      const { ended } = await readNames(client);
      // By index, whatever the statistics of a fresh table say; see engineSettings in worker.ts for jit.
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
    let looks = 0;
    beat = setInterval(() => void tick(opened, ++looks), lookEveryMs);
    look();
    setTimeout(look, lookAgainAfterMs).unref();
    return opened;
  }

  async function tick(current: Session, looks: number): Promise<void> {
    if (wanted()) look();
    if (looks % renewEvery > 0) return;
    if (!wanted()) return leave(current);
    // A session whose query fails is lost, and what comes then is said there.
    const fresh = await answered(current, register(current)).catch(() => false);
    if (fresh) look();
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
        // Who waits is told; who only listens goes on, since it was possible once.
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
    /** The rows of some jobs, read on the session: then a query that gets no answer is a session lost, too. */
    async read(ids: number[]): Promise<Job[]> {
      const current = await open();
      return answered(current, query<Job>(current.client, sql.read_waited, { ids }));
    },
    /** @param reason what those get who are waiting for it to open */
    async close(reason: Error): Promise<void> {
      closing.abort(reason);
      await opening?.catch(() => {});
      if (session) await leave(session);
    },
  };
}

type Session = { client: Client; id: string };

/** @returns whether it did not count before */
async function register({ client, id }: Session): Promise<boolean> {
  const [row] = await query<{ fresh: boolean }>(client, sql.register_listener, { id });
  return row!.fresh;
}

/** Ends a session that does not answer: its network may have vanished without a word. */
async function answered<T>({ client }: Session, answer: Promise<T>): Promise<T> {
  const timer = setTimeout(() => void client.end().catch(() => {}), answerWithinMs);
  try {
    return await answer;
  } finally {
    clearTimeout(timer);
  }
}

const ends: readonly unknown[] = ['completed', 'failed', 'cancelled'] satisfies Ended['status'][];

/** Anybody may notify anything: what is not ours says nothing. */
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
