import { readAddress } from '../../base/address.ts';
import { createClient } from '../../base/db/db.ts';
import { whileMigrating } from '../../base/db/migrate.ts';
import { loadStatements, query, type Queryable } from '../../base/db/sql.ts';
import { codeOf, messageOf, UsageError } from '../../base/errors.ts';
import { checkQueue, queueNames } from '../client/operate.ts';

const sql = loadStatements(import.meta.dirname, 'queues.sql', ['create_queue', 'set_queue', 'list_queues']);

/** Settings of the whole fleet, explained in the table `queues`. */
export type QueueSettings = {
  batch_size: number;
  max_retries: number;
  backoff_ms: number;
  backoff: 'exponential' | 'linear';
  timeout_ms: number | null;
  rate_limit: number | null;
  max_payload_bytes: number;
  /** Intervals, as Postgres writes them. */
  snooze_limit: string;
  keep_completed: string;
  archive_after: string;
  incident_patience: string;
  keep_sensitive: string;
};
export type Queue = QueueSettings & { name: string; paused: boolean };

/** `kind`: the default kind of its jobs. */
export type NewQueue = { name: string; kind?: string } & Partial<
  Pick<QueueSettings, 'batch_size' | 'max_retries' | 'backoff_ms'>
>;

/**
 * Creates a queue with its table `<name>_jobs`. Workers serve it from their next start on.
 * @throws UsageError for a name that is taken, or invalid
 */
export async function addQueue(databaseUrl: string, queue: NewQueue): Promise<void> {
  const { name, kind = null, batch_size = 1, max_retries = 3, backoff_ms = 5_000 } = queue;
  if (!/^[a-z][a-z0-9_]{0,49}$/.test(name))
    throw new UsageError(
      `A queue cannot be named ${name}: use small letters, digits and _, a letter first, 50 at most`,
    );
  const client = createClient(databaseUrl);
  await client.connect();
  try {
    if ((await queueNames(client)).includes(name)) throw new UsageError(`There is a queue ${name} already`);
    // Creating a partition needs a lock on all jobs. It waits only briefly for it, because everybody else would wait
    // behind it.
    await whileMigrating(client, readAddress(databaseUrl).schema, () =>
      query(client, sql.create_queue, { queue: name, batch_size, max_retries, backoff_ms, kind }),
    );
  } catch (error) {
    if (codeOf(error) !== '42P07' && codeOf(error) !== '23505') throw error;
    throw new UsageError(`The queue ${name} cannot be made: ${messageOf(error)}`, { cause: error });
  } finally {
    await client.end();
  }
}

/** Takes effect within two seconds. @throws UsageError for an unknown queue, and for an invalid value */
export async function setQueue(db: Queryable, queue: string, changes: Partial<QueueSettings>): Promise<Queue> {
  await checkQueue(db, queue);
  try {
    await query(db, sql.set_queue, { queue, changes: JSON.stringify(changes) });
  } catch (error) {
    // Data that is no value of the type, or that a check refuses.
    if (!/^(22|23514)/.test(codeOf(error) ?? '')) throw error;
    throw new UsageError(`Queue ${queue} cannot be set so: ${messageOf(error)}`, { cause: error });
  }
  return (await listQueues(db)).find(({ name }) => name === queue)!;
}

export async function listQueues(db: Queryable): Promise<Queue[]> {
  return query<Queue>(db, sql.list_queues);
}
