import { createClient } from './db.ts';
import { within } from '../deadline.ts';
import { messageOf, UsageError } from '../errors.ts';

/**
 * Whether a session of ours is one of the server's: workers hold locks and LISTEN in theirs. A transaction pooler lends its server
 * sessions out for one transaction at a time, and whoever gets one back finds the locks of another.
 */

/** Anything that runs one statement. Statements go unnamed here: what is named may be lost on its way through a pooler. */
export type Session = { query(text: string): Promise<{ rows: any[] }> };

export const pooled = 'goes through a transaction pooler: locks and LISTEN do not hold there';
export const direct =
  'let DATABASE_URL lead to Postgres itself, or to a pooler in session mode ' +
  '(Supabase: the direct connection, or the session pooler on port 5432 and not 6543; PgBouncer: pool_mode = session)';

/**
 * @param a a client that is connected
 * @throws UsageError where the way to the database is a transaction pooler. Where there is no second connection to be had, this cannot be seen
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
    if (await isLent(a, b)) throw new UsageError(`DATABASE_URL ${pooled}. To mend it, ${direct}`);
  } finally {
    await b.end().catch(() => {});
  }
}

/**
 * Lent are sessions that change, or that two have in turn. That an answer is late proves nothing: the way may be slow, and a session
 * pooler may have no second session. So true is certain, and false is as far as can be seen.
 * @param patienceMs how long `a` may wait while `b` is in a transaction. Where `b` gets no session in this time, it must be ended
 */
export async function isLent(a: Session, b: Session, patienceMs = 5_000): Promise<boolean> {
  const had = new Map<Session, number>();
  let lent = false;
  async function meet(session: Session): Promise<void> {
    const { rows } = await session.query('select pg_backend_pid() as pid');
    const { pid } = rows[0] as { pid: number };
    const other = session === a ? b : a;
    lent ||= (had.get(session) ?? pid) !== pid || had.get(other) === pid;
    had.set(session, pid);
  }

  for (let round = 0; round < 2 && !lent; round++) {
    await meet(a);
    const begun = await within(patienceMs, begin(b));
    if (begun !== 'begun') return begun === 'forbidden';
    await meet(b);
    const asked = lent ? undefined : meet(a);
    await within(patienceMs, asked);
    await b.query('rollback');
    await asked;
    // Where two are lent in turn, this is the one that `a` had.
    await meet(b);
  }
  return lent;
}

/** `forbidden` where sessions are lent for one statement each. https://www.pgbouncer.org/features.html */
async function begin(session: Session): Promise<'begun' | 'forbidden'> {
  try {
    await session.query('begin');
    return 'begun';
  } catch (error) {
    if (/statement pooling/i.test(messageOf(error))) return 'forbidden';
    throw error;
  }
}
