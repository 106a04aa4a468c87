import { createClient } from './db.ts';
import { within } from '../deadline.ts';
import { messageOf, UsageError } from '../errors.ts';

/**
 * Detects a transaction pooler. Workers hold locks and LISTEN in a session of the server's. A transaction pooler gives
 * a client a server session for one transaction only, so the client would lose its locks, and get those of another.
 */

/** Anything that runs one statement. Statements are unnamed here: through a pooler, a named one may be missing. */
export type Session = { query(text: string): Promise<{ rows: any[] }> };

export const pooled = 'goes through a transaction pooler, where locks and LISTEN do not work';
export const direct =
  'set DATABASE_URL to the address of Postgres itself, or of a pooler in session mode ' +
  '(Supabase: the direct connection, or the session pooler on port 5432 and not 6543; PgBouncer: pool_mode = session)';

/**
 * @param a a connected client
 * @throws UsageError if the database is reached through a transaction pooler. If no second connection can be opened,
 *   this cannot be detected
 */
export async function refusePooler(a: Session, databaseUrl: string): Promise<void> {
  const b = createClient(databaseUrl);
  b.on('error', () => {});
  try {
    const connected = await b.connect().then(
      () => true,
      () => false,
    );
    if (!connected) return;
    if (await changesSessions(a, b)) throw new UsageError(`DATABASE_URL ${pooled}. To fix it, ${direct}`);
  } finally {
    await b.end().catch(() => {});
  }
}

/**
 * Whether a pooler changes the sessions of our connections. If the backend of a connection changes, or two connections
 * get the same one in turn, it does. A late answer proves nothing: the network may be slow, and a session pooler may
 * have no second session. So true is certain, and false means that nothing was detected.
 * @param patienceMs how long `a` may wait while `b` is in a transaction. If `b` gets no session in this time, it must
 *   be ended
 */
export async function changesSessions(a: Session, b: Session, patienceMs = 5_000): Promise<boolean> {
  const had = new Map<Session, number>();
  let changed = false;
  async function compare(session: Session): Promise<void> {
    const { rows } = await session.query('select pg_backend_pid() as pid');
    const { pid } = rows[0] as { pid: number };
    const other = session === a ? b : a;
    changed ||= (had.get(session) ?? pid) !== pid || had.get(other) === pid;
    had.set(session, pid);
  }

  for (let round = 0; round < 2 && !changed; round++) {
    await compare(a);
    const begun = await within(patienceMs, begin(b));
    if (begun !== 'begun') return begun === 'forbidden';
    await compare(b);
    const asked = changed ? undefined : compare(a);
    await within(patienceMs, asked);
    await b.query('rollback');
    await asked;
    // If two connections share one backend, this is the one that `a` had.
    await compare(b);
  }
  return changed;
}

/** `forbidden` if the pooler gives out sessions for one statement each. https://www.pgbouncer.org/features.html */
async function begin(session: Session): Promise<'begun' | 'forbidden'> {
  try {
    await session.query('begin');
    return 'begun';
  } catch (error) {
    if (/statement pooling/i.test(messageOf(error))) return 'forbidden';
    throw error;
  }
}
