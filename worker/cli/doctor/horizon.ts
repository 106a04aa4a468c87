import type { Session } from '../../base/db/pooler.ts';
import { loadStatements } from '../../base/db/sql.ts';
import { duration, plain } from '../output.ts';
import { ok, warn, type Check } from './check.ts';

const sql = loadStatements(import.meta.dirname, 'horizon.sql', ['holders']);

type Holder = {
  kind: 'session' | 'prepared' | 'slot' | 'standby';
  name: string;
  pid: number | null;
  database: string | null;
  /** Null if it is not visible: then `transactions` says how many have begun since. */
  age_s: number | null;
  transactions: number;
};
type Patience = { seconds: number; transactions: number };

const shown = 3;

/** What holds back vacuum. @param patience how long is too long; in transactions if the time is not visible */
export async function checkHorizon(
  session: Session,
  patience: Patience = { seconds: 300, transactions: 100_000 },
): Promise<Check[]> {
  return judgeHorizon((await session.query(sql.holders.text)).rows as Holder[], patience);
}

export function judgeHorizon(holders: Holder[], { seconds, transactions }: Patience): Check[] {
  const old = holders.filter((holder) =>
    holder.age_s === null ? holder.transactions > transactions : holder.age_s > seconds,
  );
  if (old.length === 0) return [ok('vacuum', `nothing has held it back for more than ${duration(seconds)}`)];
  return old.slice(0, shown).map((holder) => {
    const since =
      holder.age_s === null ? `${holder.transactions.toLocaleString('en')} transactions` : duration(holder.age_s);
    const detail = `held back for ${since} by ${who(holder)}: the live tables grow until that ends`;
    return warn('vacuum', detail, fix(holder));
  });
}

function who({ kind, name, pid }: Holder): string {
  switch (kind) {
    case 'session':
      return `an open transaction, pid ${pid} (${plain(name) || 'without application_name'})`;
    case 'prepared':
      return `the prepared transaction ${literal(name)}`;
    case 'slot':
      return `the replication slot ${literal(name)}`;
    case 'standby':
      return `the standby ${literal(name)}, pid ${pid}`;
  }
}

function fix({ kind, name, pid, database }: Holder): string {
  switch (kind) {
    case 'session':
      return `let it commit, or end it: select pg_terminate_backend(${pid})`;
    case 'prepared':
      return (
        `in database ${plain(database ?? '')}: ` +
        `commit prepared ${literal(name)}, or rollback prepared ${literal(name)}`
      );
    case 'slot':
      return (
        'end long queries on its standby; if the standby is gone: ' +
        `select pg_drop_replication_slot(${literal(name)})`
      );
    case 'standby':
      return 'end long queries there, or set hot_standby_feedback = off there';
  }
}

const literal = (text: string) => `'${plain(text).replaceAll("'", "''")}'`;
