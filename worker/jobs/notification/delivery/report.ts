import type { App } from '../../../app.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import type { Report } from '../../../providers/report.ts';
import { storable } from '../../../queue/run/storable.ts';
import { createHasher } from './hash.ts';

const sql = loadStatements(import.meta.dirname, 'report.sql', ['record_reports', 'unsubscribe']);

/**
 * Writes down what a provider reports: the event, what became of the message, and who does not want to be written to.
 * @returns how many events are new, and how many deliveries moved on
 */
export async function recordReports(
  { db, config }: Pick<App, 'db' | 'config'>,
  provider: string,
  reports: Report[],
): Promise<{ events: number; moved: number }> {
  const hasher = createHasher(config);
  const rows = reports.map(({ recipient, ...report }) => {
    if (!recipient) return report;
    const { address, list = '', ...wish } = recipient;
    return { ...report, ...wish, list: list.slice(0, 200), hashes: hasher.ofRecipient(address) };
  });
  if (rows.length === 0) return { events: 0, moved: 0 };
  const [counts] = await query<{ events: number; moved: number }>(db, sql.record_reports, {
    provider,
    reports: storable(rows),
  });
  return counts!;
}

/** @param recipient_hash of the address, on this list */
export async function unsubscribe({ db }: Pick<App, 'db'>, recipient_hash: string, list: string): Promise<void> {
  await query(db, sql.unsubscribe, { channel: 'email', recipient_hash, list, reason: 'unsubscribed' });
}
