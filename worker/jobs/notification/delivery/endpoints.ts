import type { App } from '../../../app.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { codeOf, PermanentError } from '../../../base/errors.ts';
import { isSealed, open } from '../../../base/seal.ts';

/** The rows of webhook_endpoints. */

const sql = loadStatements(import.meta.dirname, 'endpoints.sql', ['find_endpoint', 'note_success', 'note_failure']);

type Row = { created_at: Date } & (Endpoint | { [Column in keyof Endpoint]: null });
type Endpoint = {
  id: string;
  url: string;
  secret: string;
  previous_secret: string | null;
  disabled: boolean;
  disabled_reason: string | null;
};

/** @returns where to send, and when the notification was made. Without an id: only that */
export async function findEndpoint(
  { db, config }: Pick<App, 'db' | 'config'>,
  delivery: string,
  id: string | undefined,
): Promise<{ created_at: Date; endpoint?: { url: string; secrets: string[] } }> {
  const [row] = await query<Row>(db, sql.find_endpoint, { delivery, endpoint: id ?? null });
  const { created_at } = row!;
  if (id === undefined) return { created_at };
  if (row!.id === null)
    throw new PermanentError('webhook_endpoint_not_found', `There is no row ${id} in webhook_endpoints`);
  const { url, secret, previous_secret, disabled, disabled_reason } = row!;
  if (disabled) {
    const why = disabled_reason ?? 'somebody disabled it';
    throw new PermanentError('webhook_endpoint_disabled', `The webhook endpoint ${id} is disabled: ${why}`);
  }
  // Both columns have the same place, so that a secret can be moved by a plain UPDATE.
  const place = { table: 'webhook_endpoints', row: id, field: 'secret' };
  const secrets = [secret, previous_secret]
    .filter((each) => each !== null)
    .map((each) => (isSealed(each) ? String(open(each, place, config.keyring)) : each));
  return { created_at, endpoint: { url, secrets } };
}

/** @param error why a request to it failed; undefined: it did not */
export async function noteAnswer(
  db: Queryable,
  { config, log }: Pick<App, 'config' | 'log'>,
  id: string,
  error: unknown,
): Promise<void> {
  if (error === undefined) {
    await query(db, sql.note_success, { id });
    return;
  }
  const gone = codeOf(error) === 'webhook_gone';
  const hours = config.webhook.disableAfterHours;
  const [row] = await query<{ disabled_reason: string | null }>(db, sql.note_failure, { id, gone, hours });
  if (row?.disabled_reason)
    log.warn({ endpoint_id: id, reason: row.disabled_reason }, 'a webhook endpoint is disabled');
}
