import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf } from '../../base/errors.ts';
import { fail, ok, warn, type Check } from './check.ts';

/** Anything that runs one statement. Statements go unnamed here: what is named may be lost on its way through a pooler. */
export type Session = { query(text: string): Promise<{ rows: any[] }> };

const name = 'connection';
const mend =
  'let DATABASE_URL lead to Postgres itself, or to a pooler in session mode; ' +
  'on Supabase that is the direct connection, or the session pooler on port 5432 and not 6543';

/**
 * Whether a session of ours is one of the server's: workers hold locks and LISTEN in theirs. A transaction pooler lends server
 * sessions out one transaction at a time, so while `b` holds one in a transaction, `a` meets it again or gets another, or none.
 */
export async function checkDirect(a: Session, b: Session, url: string, patienceMs = 5_000): Promise<Check> {
  for (let round = 0; round < 3; round++)
    if (await isLent(a, b, patienceMs))
      return fail(name, 'goes through a transaction pooler: locks and LISTEN do not hold there', mend);
  if (URL.parse(url)?.port === '6543')
    return warn(name, 'direct, as far as can be seen, but port 6543 is usually a transaction pooler', mend);
  return ok(name, 'direct, sessions are our own');
}

async function isLent(a: Session, b: Session, patienceMs: number): Promise<boolean> {
  const before = await pidOf(a);
  try {
    await b.query('begin');
  } catch (error) {
    // A protocol violation: it lends sessions out for one statement each, and knows no transactions.
    if (codeOf(error) === '08P01') return true;
    throw error;
  }
  const theirs = await pidOf(b);
  const asked = pidOf(a);
  const after = await Promise.race([asked, sleep(patienceMs, undefined, { ref: false })]);
  await b.query('rollback');
  await asked;
  return before !== after || before === theirs;
}

async function pidOf(session: Session): Promise<number> {
  const { rows } = await session.query('select pg_backend_pid() as pid');
  return (rows[0] as { pid: number }).pid;
}
