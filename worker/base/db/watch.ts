import { setTimeout as sleep } from 'node:timers/promises';
import { createClient, isTransient } from './db.ts';
import type { Log } from '../log.ts';
import { openSessions, type Session } from './session.ts';
import { loadStatements, query } from './sql.ts';

const sql = loadStatements(import.meta.dirname, 'watch.sql', ['deaf_sessions', 'end_sessions']);

const checkEveryMs = 500;
/** After how long a statement is checked with the server; twice as long the next time, and so on. */
const patienceMs = 2_000;
const longestPatienceMs = 30_000;
/** The answer may be on its way. */
const lastMomentMs = 250;

/**
 * Finds connections that are lost without an error, until `signal` aborts: behind a proxy that swallows bytes, or a
 * host that vanished. A statement may take long, so its time alone proves nothing. But if the server, asked on another
 * connection, says that it is not executing that statement, the connection is given up. So a lost connection is
 * replaced within seconds, and a slow statement is left alone.
 * @param instance whose sessions are watched
 */
export async function watchSessions(
  databaseUrl: string,
  instance: string,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const asked = new WeakMap<Session, { statement: number; nextMs: number }>();

  while (!signal.aborted) {
    await sleep(checkEveryMs, undefined, { signal }).catch(() => {});
    const suspects = [...openSessions].filter((session) => session.instance === instance && isLate(session));
    if (suspects.length === 0 || signal.aborted) continue;
    try {
      const deaf = await askAbout(suspects);
      if (deaf > 0) log.warn({ connections: deaf }, 'gave up database connections that do not answer');
    } catch (error) {
      // The server cannot be asked now: they are checked again next time.
      log[isTransient(error) ? 'debug' : 'error'](
        { err: error },
        'could not ask about database connections that do not answer',
      );
    }
  }

  function isLate(session: Session): boolean {
    const { silentMs, statement } = session;
    const before = asked.get(session);
    const again = before?.statement === statement ? before.nextMs : patienceMs;
    return session.pid > 0 && silentMs > again;
  }

  async function askAbout(suspects: Session[]): Promise<number> {
    const statements = new Map(suspects.map((session) => [session, session.statement]));
    const client = createClient(databaseUrl, { connectTimeoutMs: 3_000, queryTimeoutMs: 3_000 });
    try {
      await client.connect();
      const pids = suspects.map(({ pid }) => pid);
      const idle = (await query<{ pid: number }>(client, sql.deaf_sessions, { pids })).map(({ pid }) => pid);
      for (const [session, statement] of statements)
        asked.set(session, { statement, nextMs: Math.min(session.silentMs * 2, session.silentMs + longestPatienceMs) });
      if (idle.length === 0) return 0;
      await sleep(lastMomentMs);
      const deaf = suspects.filter(
        (session) =>
          idle.includes(session.pid) && session.silentMs > 0 && session.statement === statements.get(session),
      );
      const given =
        deaf.length > 0
          ? [...deaf, ...restingSince(Math.min(...deaf.map(({ quietSince }) => quietSince)), instance)]
          : [];
      for (const session of given) session.destroy(new Error('Connection terminated: a statement got no answer'));
      await query(client, sql.end_sessions, { pids: given.map(({ pid }) => pid) });
      return given.length;
    } finally {
      await client.end().catch(() => {});
    }
  }
}

/**
 * Connections that are idle in a pool and had their last answer before that: probably they are lost in the same way,
 * and would otherwise be found one by one.
 */
const restingSince = (at: number, instance: string) =>
  [...openSessions].filter(
    (session) => session.instance === instance && session.restsInPool && session.quietSince < at,
  );
