import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';

/** What people do with alerts, from the command line and the dashboard. A sweep opens, tells and resolves them. */

const sql = loadStatements(import.meta.dirname, 'alerts.sql', ['list_alerts', 'silence_alerts', 'unsilence_alerts']);

export type Alert = {
  id: number;
  /** `dead_letters`, `waiting`, ...: a row of alert_rules. */
  condition: string;
  subject: string;
  what: string;
  cause: string | null;
  solution: string;
  /** The SQL that shows more. */
  query: string;
  count: number;
  last_at: Date;
  opened_at: Date;
  /** In how many messages it was told. */
  messages: number;
  last_sent_at: Date | null;
  resolved_at: Date | null;
  /** Null: it is not silenced. */
  silenced_until: Date | null;
  silenced_by: string | null;
};

/** Open alerts, the newest first. @param resolved also those that have passed, behind them */
export async function listAlerts(db: Queryable, { resolved = false, limit = 200 } = {}): Promise<Alert[]> {
  return query<Alert>(db, sql.list_alerts, { resolved, limit });
}

export type Silenced = { id: number; what: string; silenced_until: Date | null };

/**
 * Nothing is sent about these alerts for a while, nor about the same conditions if they open again. An id that is not
 * in the answer is no open alert's.
 * @param by who did it
 */
export async function silenceAlerts(
  db: Queryable,
  ids: number[],
  { seconds, by }: { seconds: number; by: string },
): Promise<Silenced[]> {
  return query<Silenced>(db, sql.silence_alerts, { ids, seconds, by: by.slice(0, 200) });
}

/** An id that is not in the answer is no open alert's. */
export async function unsilenceAlerts(db: Queryable, ids: number[]): Promise<Silenced[]> {
  return query<Silenced>(db, sql.unsilence_alerts, { ids });
}
