import { bind, loadStatements, query, type Queryable } from '../../base/db/sql.ts';

const sql = loadStatements(import.meta.dirname, 'due-tickets.sql', ['due_tickets']);

/** The ticket of a queue that a claim would return now. */
export type DueTicket = {
  queue: string;
  priority: number;
  /** For how long it has been due. */
  waiting_ms: number;
};

/** Asks which queues have a due ticket that nobody has claimed. */
export function dueTickets(db: Queryable, tickets: string) {
  const statement = bind(sql.due_tickets, { tickets });
  return (queues: string[]): Promise<DueTicket[]> => query<DueTicket>(db, statement, { queues });
}
