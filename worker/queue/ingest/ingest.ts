import { transaction, type Db, type Tx } from '../../base/db/db.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { addEach, type Sealer } from '../client/add.ts';
import { InvalidJob, type NewJob } from '../client/new-job.ts';
import { queueNames } from '../client/operate.ts';
import { jobOf, Rejected, type Message } from './message.ts';

/**
 * The way in for messages of other queues. What is JSON and names a queue becomes a job, and a worker judges it;
 * everything else becomes a row of rejected_messages. So a source may forget a message once `tx` has committed.
 */

const sql = loadStatements(import.meta.dirname, 'ingest.sql', [
  'keep_rejected',
  'list_rejected',
  'read_rejected',
  'correct_rejected',
  'mark_tried',
  'delete_rejected',
]);

/** `known`: a message with its id came before; `id` is that one's job. */
export type Outcome =
  | { outcome: 'created' | 'known'; id: number }
  | { outcome: 'rejected'; reason: string; error: string };

type From = Message & { source: string };

/**
 * Makes jobs of messages by one insert, independently of each other.
 * @param source the way in, such as `rabbitmq:media`: ids are unique within it
 * @returns what became of each, in their order. It holds when `tx` commits.
 */
export async function ingest(
  tx: Tx,
  source: string,
  messages: readonly Message[],
  sealer?: Sealer,
): Promise<Outcome[]> {
  const from = messages.map((message) => ({ ...message, source }));
  const outcomes = await accept(tx, from, sealer);
  const rejected = from.flatMap((message, n) => {
    const outcome = outcomes[n]!;
    return outcome.outcome === 'rejected' ? [{ message, ...outcome }] : [];
  });
  if (rejected.length > 0)
    await query(tx, sql.keep_rejected, {
      sources: rejected.map(() => source),
      keys: rejected.map(({ message: { key } }) => storable(key, 1_000)),
      message_ids: rejected.map(({ message: { id } }) => (id === undefined ? null : storable(id, 1_000))),
      headers: rejected.map(({ message: { headers } }) => JSON.stringify(headersOf(headers ?? {}))),
      bodies: rejected.map(({ message: { body } }) => Buffer.from(body.buffer, body.byteOffset, body.byteLength)),
      reasons: rejected.map(({ reason }) => reason),
      errors: rejected.map(({ error }) => storable(error, 2_000)),
    });
  return outcomes;
}

async function accept(tx: Tx, messages: readonly From[], sealer: Sealer | undefined): Promise<Outcome[]> {
  const queues = await queueNames(tx);
  const outcomes: Outcome[] = [];
  const jobs: { n: number; job: NewJob }[] = [];
  for (const [n, message] of messages.entries())
    try {
      const job = jobOf(message.source, message);
      if (!queues.includes(job.queue))
        throw new Rejected(
          'unknown_queue',
          `There is no queue ${job.queue.slice(0, 60)}: there are ${queues.join(', ')}`,
        );
      jobs.push({ n, job });
    } catch (error) {
      if (!(error instanceof Rejected)) throw error;
      outcomes[n] = { outcome: 'rejected', reason: error.reason, error: error.message };
    }
  const added = await addEach(
    tx,
    jobs.map(({ job }) => job),
    sealer,
  );
  for (const [at, { n }] of jobs.entries()) {
    const each = added[at]!;
    outcomes[n] =
      each instanceof InvalidJob
        ? { outcome: 'rejected', reason: 'refused', error: each.message }
        : { outcome: each.created ? 'created' : 'known', id: each.id };
  }
  return outcomes;
}

const storable = (text: string, length: number) => text.toWellFormed().replaceAll('\0', '\u{fffd}').slice(0, length);

/** Headers as jsonb takes them. */
function headersOf(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return storable(value, value.length);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (depth > 20) return '...';
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map((each) => headersOf(each, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [storable(name, name.length), headersOf(each, depth + 1)]),
  );
}

export type RejectedMessage = {
  id: number;
  source: string;
  key: string;
  message_id: string | null;
  headers: Record<string, unknown>;
  body: Buffer;
  reason: string;
  error: string;
  created_at: Date;
  tried_at: Date | null;
};

/** Without the body, which may be large. */
export type ListedMessage = Omit<RejectedMessage, 'body' | 'headers'> & { bytes: number };

/** The newest first. */
export async function listRejected(
  db: Queryable,
  { source = null, reason = null, limit }: { source?: string | null; reason?: string | null; limit: number },
): Promise<ListedMessage[]> {
  return query<ListedMessage>(db, sql.list_rejected, { source, reason, limit });
}

export async function showRejected(db: Queryable, id: number): Promise<RejectedMessage | undefined> {
  const [row] = await query<RejectedMessage>(db, sql.read_rejected, { ids: [id] });
  return row;
}

/** Corrects a message before it is submitted again. @returns false if there is none */
export async function correctRejected(
  db: Queryable,
  id: number,
  { key, body }: { key: string; body: Uint8Array },
): Promise<boolean> {
  return (await query(db, sql.correct_rejected, { id, key: storable(key, 1_000), body })).length > 0;
}

export type Resubmitted = Outcome & { message: number };

/** Tries rejected messages again: those that become jobs are deleted. An id that is not in the answer is none's. */
export async function resubmit(db: Db, ids: readonly number[], sealer?: Sealer): Promise<Resubmitted[]> {
  return transaction(db, async (tx) => {
    const rows = await query<RejectedMessage>(tx, sql.read_rejected, { ids });
    const outcomes = await accept(tx, rows.map(messageOf), sealer);
    const results = rows.map(({ id }, n) => ({ message: id, ...outcomes[n]! }));
    const done = results.filter(({ outcome }) => outcome !== 'rejected').map(({ message }) => message);
    await query(tx, sql.delete_rejected, { ids: done });
    for (const result of results)
      if (result.outcome === 'rejected') {
        const { message: id, reason, error } = result;
        await query(tx, sql.mark_tried, { id, reason, error: storable(error, 2_000) });
      }
    return results;
  });
}

const messageOf = ({ source, key, body, headers, message_id }: RejectedMessage): From => ({
  source,
  key,
  body,
  headers,
  id: message_id ?? undefined,
});

/** @returns the ids of those that were there */
export async function deleteRejected(db: Queryable, ids: readonly number[]): Promise<number[]> {
  return (await query<{ id: number }>(db, sql.delete_rejected, { ids })).map(({ id }) => id);
}
