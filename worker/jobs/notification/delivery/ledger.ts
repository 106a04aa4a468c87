import type { App } from '../../../app.ts';
import { byIndex } from '../../../base/db/by-index.ts';
import { isTransient, transaction, type Db, type Tx } from '../../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { codeOf, PermanentError, RetryableError } from '../../../base/errors.ts';
import { isSealed, open } from '../../../base/seal.ts';
import { coalesce, oneByOne } from '../../../queue/run/coalesce.ts';
import { storable } from '../../../queue/run/storable.ts';
import type { Hashes } from './hash.ts';

/**
 * The rows of notifications and notification_deliveries. All functions are for many deliveries at once, because one
 * call of a provider may send many messages.
 */

const sql = loadStatements(import.meta.dirname, 'ledger.sql', [
  'open_new',
  'lock_notifications',
  'take_notifications',
  'add_deliveries',
  'take_deliveries',
  'begin_sending',
  'put_back',
  'settle',
  'note_receipt',
  'suppress_recipient',
  'stored_notification',
  'pause_tokens',
]);

/** What is to be told to one recipient. */
export type Request = {
  /** The execution that wants to send it. */
  job_id: number;
  attempt: number;
  /** The notification's id, if the job names it. */
  notification_id: string | undefined;
  message_id: string;
  channel: string;
  target_user_id: string | undefined;
  template_id: string | undefined;
  priority: string;
  metadata: Record<string, unknown>;
  list: string | undefined;
  content: Hashes;
  recipient: Hashes;
};

/** A delivery as this execution found it. */
export type Delivery = {
  id: string;
  status: 'queued' | 'sending' | 'sent' | 'delivered' | 'read' | 'failed' | 'bounced' | 'ambiguous' | 'skipped';
  /** Who sent it, or may have, and when. */
  provider: string | null;
  provider_message_id: string | null;
  sending_at: Date | null;
  /** Another job is sending it. */
  held: boolean;
  /** Nobody knows whether another job sent it. */
  foreign_ambiguity: boolean;
  /** Why its recipient must not be written to. */
  suppressed: string | null;
};

/**
 * Opens the delivery of each request. From then on it belongs to the request's execution, unless it has ended or is
 * held.
 * @throws PermanentError `message_id_reused`
 */
export async function openDeliveries(db: Db, requests: Request[]): Promise<Delivery[]> {
  const wanted = requests.map(({ content, recipient, notification_id, ...request }, n) => ({
    ...request,
    n,
    id: notification_id,
    content_hash: content[0],
    recipient_hash: recipient[0],
    hashes: recipient,
  }));
  const found = await query<Found>(db, sql.open_new, { wanted: storable(wanted) }).catch(faultOfRow);
  const known = new Map<number, Delivery>(found.map(({ n, ...delivery }) => [n, { ...fresh, ...delivery }]));
  const rest = requests.map((request, n) => ({ ...request, n })).filter(({ n }) => !known.has(n));
  if (rest.length > 0)
    for (const { n, ...delivery } of await transaction(db, (tx) => openKnown(tx, rest))) known.set(n, delivery);
  return requests.map((_, n) => {
    const delivery = known.get(n);
    if (!delivery) throw new RetryableError('unexpected_error', 'A notification was deleted while it was being opened');
    return delivery;
  });
}

/** The lengths of all other columns were checked with the payload. */
function faultOfRow(error: unknown): never {
  if (codeOf(error) !== '23514') throw error;
  throw new PermanentError('invalid_payload', 'payload.metadata: has more than 100,000 bytes as text', {
    cause: error,
  });
}

const fresh = { provider: null, provider_message_id: null, sending_at: null, held: false, foreign_ambiguity: false };
type Found = { n: number } & Pick<Delivery, 'id' | 'status' | 'suppressed'>;
type Stored = { id: string; message_id: string; content_hash: string | null; job_id: number | null; begun: boolean };

/** Of notifications that are there already. */
async function openKnown(tx: Tx, requests: (Request & { n: number })[]): Promise<({ n: number } & Delivery)[]> {
  const stored = await query<Stored>(tx, sql.lock_notifications, {
    ids: requests.flatMap(({ notification_id }) => notification_id ?? []),
    message_ids: requests.map(({ message_id }) => message_id),
  });
  const wanted = requests.map(({ content, recipient, ...request }) => ({
    ...request,
    notification_id: notificationOf(request, content, stored).id,
    content_hash: content[0],
    recipient_hash: recipient[0],
    hashes: recipient,
  }));
  const all = { wanted: storable(wanted) };
  const found = await byIndex(tx, async () => {
    await query(tx, sql.add_deliveries, all);
    return query<{ n: number } & Delivery>(tx, sql.take_deliveries, all);
  });
  await query(tx, sql.take_notifications, all);
  return found;
}

/** The job that a notification belongs to may still correct its content, until it is being sent. */
function notificationOf(
  { notification_id, message_id, job_id }: Pick<Request, 'notification_id' | 'message_id' | 'job_id'>,
  content: Hashes,
  stored: Stored[],
): Stored {
  const byId = stored.find(({ id }) => id === notification_id);
  const byMessage = stored.find((row) => row.message_id === message_id);
  const found = byId ?? byMessage;
  const words = `The message_id ${message_id} is that of another notification`;
  if (!found || (byId && byMessage && byId !== byMessage)) throw new PermanentError('message_id_reused', words);
  const same = found.content_hash === null || content.includes(found.content_hash);
  if (!same && (found.job_id !== job_id || found.begun))
    throw new PermanentError('message_id_reused', `${words}, with another content: give each its own`);
  return found;
}

/**
 * The same for one request of a job. Jobs that run at the same time share a statement; those of the same notification
 * come one after another.
 */
export const openDelivery = shared(async (db: Db, requests: Request[]): Promise<Delivery[]> => {
  const opened = new Map<Request, Delivery>();
  for (let left = requests; left.length > 0; left = left.filter((request) => !opened.has(request))) {
    const seen = new Set<string>();
    const some = left.filter(({ message_id, notification_id }) => {
      const names = [`message ${message_id}`, ...(notification_id === undefined ? [] : [`row ${notification_id}`])];
      const isFirst = !names.some((name) => seen.has(name));
      for (const name of names) seen.add(name);
      return isFirst;
    });
    const deliveries = await openDeliveries(db, some);
    for (const [index, request] of some.entries()) opened.set(request, deliveries[index]!);
  }
  return requests.map((request) => opened.get(request)!);
});

/** The execution that holds a delivery. */
export type Holder = Pick<Request, 'job_id' | 'attempt'>;

/**
 * Writes down that these are being sent, before a provider is asked.
 * @returns the ids of those that this execution may send
 */
export async function beginSending(
  db: Queryable,
  deliveries: (Pick<Delivery, 'id' | 'status'> & Holder)[],
  provider: string,
): Promise<Set<string>> {
  const begun = deliveries.map(({ id, status, job_id, attempt }) => ({ id, status, provider, job_id, attempt }));
  const rows = await query<{ id: string }>(db, sql.begin_sending, { begun: JSON.stringify(begun) });
  return new Set(rows.map(({ id }) => id));
}

/** The same for one. @returns whether this execution may send it */
export const beginOne = shared(
  async (db: Db, all: (Pick<Delivery, 'id' | 'status'> & Holder & { provider: string })[]): Promise<boolean[]> => {
    const rows = await query<{ id: string }>(db, sql.begin_sending, { begun: JSON.stringify(all) });
    const begun = new Set(rows.map(({ id }) => id));
    return all.map(({ id }) => begun.has(id));
  },
);

/** Those that certainly were not sent. `queued` are tried again. */
export async function putBack(
  db: Queryable,
  deliveries: (Holder & { id: string; status: 'queued' | 'failed'; error_code: string | null })[],
): Promise<void> {
  await query(db, sql.put_back, { put: JSON.stringify(deliveries) });
}

export type Settled = {
  id: string;
  status: 'sent' | 'skipped' | 'failed';
  provider?: string;
  provider_message_id?: string | undefined;
  error_code?: string;
};

/** What became of them, in the transaction that completes their job. The notifications follow. */
export async function settle(tx: Tx, deliveries: Settled[]): Promise<void> {
  await query(tx, sql.settle, { settled: storable(deliveries) });
}

/** They were sent, and their job is not completed with them: so that they are not sent again. */
export async function writeReceipts(db: Queryable, receipts: Omit<Settled, 'status'>[]): Promise<void> {
  await query(db, sql.note_receipt, { receipts: storable(receipts) });
}

/** The same, while Postgres may be away. Without it, the delivery stays `sending`. */
export async function noteReceipts(db: Queryable, receipts: Omit<Settled, 'status'>[]): Promise<void> {
  await writeReceipts(db, receipts).catch((error: unknown) => {
    if (!isTransient(error)) throw error;
  });
}

/** The recipient of this delivery does not want to be written to on its channel. */
export async function suppressRecipient(db: Queryable, id: string, reason: string): Promise<void> {
  await query(db, sql.suppress_recipient, { id, reason });
}

export type StoredNotification = {
  message_id: string;
  target_user_id: string | null;
  template_id: string | null;
  payload: Record<string, unknown> | null;
  priority: string;
  metadata: Record<string, unknown>;
};

/** The row that the user's API made. @throws what `open` of base/seal.ts throws */
export async function storedNotification(
  { db, config }: Pick<App, 'db' | 'config'>,
  id: string,
): Promise<StoredNotification | undefined> {
  const [row] = await query<StoredNotification>(db, sql.stored_notification, { id });
  if (!row) return undefined;
  const place = { table: 'notifications', row: id, field: 'payload' };
  const payload: unknown = isSealed(row.payload) ? open(row.payload, place, config.keyring) : row.payload;
  return { ...row, payload: payload as StoredNotification['payload'] };
}

/** Until a provider can be asked again: for all workers. */
export async function pauseBucket(db: Queryable, bucket: { key: string; perSecond: number }, ms: number) {
  await query(db, sql.pause_tokens, { key: bucket.key, rate: bucket.perSecond, pause_ms: ms });
}

/** For one item of a job: those of jobs that run at the same time go together. */
function shared<Item, Result>(write: (db: Db, items: Item[]) => Promise<Result[]>) {
  const ofDb = new WeakMap<Db, (item: Item) => Promise<Result>>();
  return (db: Db, item: Item): Promise<Result> => {
    const add = ofDb.get(db) ?? coalesce((items: Item[]) => write(db, items), oneByOne);
    ofDb.set(db, add);
    return add(item);
  };
}
