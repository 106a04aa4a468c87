import { createHash } from 'node:crypto';
import type { Db, Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import type { Delivery } from './delivery.ts';

/**
 * Which messages without an id have become jobs, and may come again because RabbitMQ did not get their acknowledgement.
 * Two equal messages may both be meant, so what they contain does not tell whether one came before.
 */

const sql = loadStatements(import.meta.dirname, 'ledger.sql', [
  'unacked',
  'keep_unacked',
  'add_unacked',
  'delete_unacked',
  'forget_unacked',
]);

type Row = { id: number; fingerprints: Buffer[]; settled: boolean };

/** Another bridge may be about to acknowledge an equal message: this is known in two seconds. */
export class Undecided extends Error {
  override name = 'Undecided';
}

export class Ledger {
  readonly #db: Db;
  /** Rows whose messages are acknowledged. */
  #acked: number[] = [];

  constructor(db: Db) {
    this.#db = db;
  }

  /**
   * Writes down that these messages are taken, in the transaction that takes them, before anything else in it.
   * @returns the row to delete, and those that were taken before
   * @throws Undecided
   */
  async take(tx: Tx, deliveries: readonly Delivery[]): Promise<{ row: number | undefined; known: Set<Delivery> }> {
    const nameless = deliveries.filter(({ message }) => !message.properties.messageId);
    if (nameless.length === 0) return { row: undefined, known: new Set() };
    const prints = new Map(nameless.map((delivery) => [delivery, fingerprintOf(delivery)]));
    const again = nameless.filter(({ message }) => message.fields.redelivered);
    const known = again.length > 0 ? await takenBefore(tx, again, prints) : new Set<Delivery>();
    // Also of those that are known: they may come once more.
    const [added] = await query<{ id: number }>(tx, sql.add_unacked, { fingerprints: [...prints.values()] });
    return { row: added!.id, known };
  }

  /** Deletes a row whose messages are acknowledged. If that fails, `clear` does it later. */
  async acked(row: number): Promise<void> {
    this.#acked.push(row);
    await this.clear();
  }

  async clear(): Promise<void> {
    if (this.#acked.length === 0) return;
    const ids = this.#acked;
    await query(this.#db, sql.delete_unacked, { ids });
    this.#acked = this.#acked.filter((id) => !ids.includes(id));
  }

  /** Deletes what is older. By then everything that had to come again has come. */
  async forget(before: Date): Promise<void> {
    await query(this.#db, sql.forget_unacked, { before });
  }
}

async function takenBefore(tx: Tx, again: readonly Delivery[], prints: Map<Delivery, Buffer>): Promise<Set<Delivery>> {
  // Waits until no transaction that has written to the table is open: the one of a bridge that was killed may be.
  await tx.query('lock table bridge_unacked in share row exclusive mode');
  const rows = (await query<Row>(tx, sql.unacked)).map((row) => ({ ...row, left: counted(row.fingerprints) }));
  const known = new Set<Delivery>();
  for (const ofQueue of Map.groupBy(again, ({ queue }) => queue).values())
    for (const { delivery, row } of foundIn(rows, ofQueue, prints)) {
      if (!row.settled) throw new Undecided();
      known.add(delivery);
      remove(row.left, prints.get(delivery)!);
    }
  for (const { id, left, fingerprints } of rows) {
    const others = [...left].flatMap(([print, n]) => Array.from({ length: n }, () => Buffer.from(print, 'hex')));
    if (others.length === 0) await query(tx, sql.delete_unacked, { ids: [id] });
    else if (others.length < fingerprints.length) await query(tx, sql.keep_unacked, { id, fingerprints: others });
  }
  return known;
}

type Left = Row & { left: Map<string, number> };
const scatteredBelow = 1 / 4;

/**
 * Which of the messages that came again from a queue are in which row. A batch comes again as a whole, before all that
 * was delivered after it. So where only a few are found among others, a row is of a batch that was acknowledged, just
 * before its bridge died, and what is found are twins.
 */
function foundIn(rows: readonly Left[], again: readonly Delivery[], prints: Map<Delivery, Buffer>) {
  const free = rows.map(({ left }) => new Map(left));
  const found = again.flatMap((delivery, at) => {
    const n = free.findIndex((left) => remove(left, prints.get(delivery)!));
    return n < 0 ? [] : [{ delivery, at, row: rows[n]! }];
  });
  const last = new Map(found.map(({ row, at }, n) => [row, (n + 1) / (at + 1)]));
  return found.filter(({ row }) => last.get(row)! >= scatteredBelow);
}

function counted(fingerprints: readonly Buffer[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const print of fingerprints.map((each) => each.toString('hex'))) counts.set(print, (counts.get(print) ?? 0) + 1);
  return counts;
}

function remove(counts: Map<string, number>, print: Buffer): boolean {
  const key = print.toString('hex');
  const n = counts.get(key) ?? 0;
  counts.set(key, Math.max(0, n - 1));
  return n > 0;
}

/** Of all that stays the same when a message comes again. */
function fingerprintOf({ queue, message: { fields, properties, content } }: Delivery): Buffer {
  const { correlationId, timestamp, priority } = properties;
  const known = JSON.stringify([queue, fields.exchange, fields.routingKey, correlationId, timestamp, priority]);
  return createHash('sha256').update(known).update('\0').update(content).digest().subarray(0, 16);
}
