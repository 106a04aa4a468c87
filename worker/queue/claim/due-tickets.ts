import { bind, loadStatements, query, type Queryable } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'due-ticket.sql', ['is_ticket_due']);

/** Priorities are smallints. */
const anyPriority = 32_768;

/** Asks whether a ticket of a queue is due that nobody has claimed: for so long, or more urgent than `below`. */
export function ticketIsDue(db: Queryable, tickets: string, queue: string) {
  const statement = bind(sql.is_ticket_due, { tickets });
  return async ({ below = anyPriority, forMs = 0 }: { below?: number; forMs?: number }): Promise<boolean> => {
    const [row] = await query<{ found: boolean }>(db, statement, { queue, below, for_s: forMs / 1_000 });
    return row!.found;
  };
}
