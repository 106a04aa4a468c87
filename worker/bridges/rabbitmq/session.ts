import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, ChannelModel } from 'amqplib';
import type { RabbitmqConfig } from '../../base/config/rabbitmq.ts';
import { transaction, type Db, type Tx } from '../../base/db/db.ts';
import { within } from '../../base/deadline.ts';
import type { Log } from '../../base/log.ts';
import type { Sealer } from '../../queue/client/add.ts';
import { queueNames } from '../../queue/client/operate.ts';
import { ingest, type Outcome } from '../../queue/ingest/ingest.ts';
import type { Tell } from '../bridge.ts';
import { connectTo } from './connect.ts';
import { messageOf, sourceOf, type Delivery } from './delivery.ts';
import { Undecided, type Ledger } from './ledger.ts';
import { makeTopology, queuesOf } from './topology.ts';

type Parts = { config: RabbitmqConfig; db: Db; log: Log; sealer: Sealer | undefined; ledger: Ledger };
/** `row` of the ledger, to be deleted after the acknowledgement. */
type Committed = { row: number | undefined; outcomes: readonly Pick<Outcome, 'outcome'>[] };

const batchBytes = 16e6;
/** After a connect, RabbitMQ delivers old messages again, all at once. They are collected, and judged together. */
const togetherMs = 100;
const undecidedMs = 1_000;
const goodbyeMs = 2_000;
/** After this time no message of an earlier session comes any more. */
const settledMs = 600_000;

/**
 * One connection with one consuming channel. Whatever happens to either ends the session: so no delivery is ever
 * acknowledged on another channel than its own.
 * @throws why it ended
 */
export async function runSession(parts: Parts, tell: Tell, signal: AbortSignal): Promise<void> {
  const { config, db, log, ledger } = parts;
  const began = new Date();
  await ledger.clear();
  const connection = await connectTo(config.url, signal);
  const session = new Session(parts, tell);
  session.watch(connection, 'connection');
  const settled = setTimeout(() => void ledger.forget(began).catch(() => {}), settledMs).unref();
  try {
    const open = async () => {
      const queues = queuesOf(config, await queueNames(db));
      await makeTopology(connection, config, queues, log);
      const names = queues.map(({ name }) => name);
      const channel = await session.consume(connection, names);
      tell.opened();
      await sleep(togetherMs);
      await session.work(channel, names, signal);
    };
    await Promise.race([open(), session.lost]);
  } finally {
    clearTimeout(settled);
    await session.close(connection);
  }
}

class Session {
  readonly #parts: Parts;
  readonly #tell: Tell;
  /** What has come, in the order of the channel. */
  #inbox: Delivery[] = [];
  #arrived = Promise.withResolvers<void>();
  readonly #lost = Promise.withResolvers<never>();
  #alive = true;
  #committing: Promise<unknown> | undefined;

  constructor(parts: Parts, tell: Tell) {
    this.#parts = parts;
    this.#tell = tell;
    this.#lost.promise.catch(() => {});
  }

  /** Rejects when the session cannot go on. */
  get lost(): Promise<never> {
    return this.#lost.promise;
  }

  #end(error: unknown): void {
    this.#alive = false;
    this.#lost.reject(error);
    this.#arrived.resolve();
  }

  watch(what: ChannelModel | Channel, name: string): void {
    what.on('error', (error: unknown) => this.#end(error));
    what.on('close', () => this.#end(new Error(`RabbitMQ closed the ${name}`)));
  }

  async consume(connection: ChannelModel, queues: readonly string[]): Promise<Channel> {
    const channel = await connection.createChannel();
    this.watch(channel, 'channel');
    await channel.prefetch(this.#parts.config.prefetch);
    for (const queue of queues)
      await channel.consume(
        queue,
        (message) => {
          if (!message) return this.#end(new Error(`RabbitMQ cancelled the consumer of the queue ${queue}`));
          this.#inbox.push({ queue, message });
          this.#arrived.resolve();
        },
        { consumerTag: tagOf(queue) },
      );
    return channel;
  }

  /** One batch after the other. When the signal aborts, what has come is taken, and nothing more comes. */
  async work(channel: Channel, queues: readonly string[], signal: AbortSignal): Promise<void> {
    const wake = () => this.#arrived.resolve();
    signal.addEventListener('abort', wake);
    try {
      while (!signal.aborted) {
        await this.#takeAll(channel);
        this.#arrived = Promise.withResolvers();
        if (!this.#alive) return;
        if (!signal.aborted) await this.#arrived.promise;
      }
      for (const queue of queues) await channel.cancel(tagOf(queue));
      await this.#takeAll(channel);
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  async #takeAll(channel: Channel): Promise<void> {
    for (let batch = this.#nextBatch(); batch.length > 0; batch = this.#nextBatch()) await this.#take(channel, batch);
  }

  #nextBatch(): Delivery[] {
    let [count, bytes] = [0, 0];
    for (const { message } of this.#inbox) {
      bytes += message.content.length;
      if (count === this.#parts.config.batch || (count > 0 && bytes > batchBytes)) break;
      count += 1;
    }
    return this.#inbox.splice(0, count);
  }

  /** Commits a batch and acknowledges it. Once RabbitMQ has answered, its row of the ledger is deleted. */
  async #take(channel: Channel, batch: readonly Delivery[]): Promise<void> {
    const committing = this.#commit(batch);
    this.#committing = committing;
    const { row, outcomes } = await committing;
    this.#tell.took(outcomes);
    const { queue, message } = batch.at(-1)!;
    channel.ack(message, true);
    if (row === undefined) return;
    // The answer to any question proves that the acknowledgement before it was read.
    await channel.checkQueue(queue);
    this.#committing = this.#parts.ledger.acked(row);
    await this.#committing;
  }

  async #commit(batch: readonly Delivery[]): Promise<Committed> {
    for (;;)
      try {
        return await transaction(this.#parts.db, (tx) => this.#insert(tx, batch));
      } catch (error) {
        if (!(error instanceof Undecided) || !this.#alive) throw error;
        await sleep(undecidedMs);
      }
  }

  async #insert(tx: Tx, batch: readonly Delivery[]): Promise<Committed> {
    const { row, known } = await this.#parts.ledger.take(tx, batch);
    const bySource = Map.groupBy(
      batch.filter((delivery) => !known.has(delivery)),
      ({ queue }) => sourceOf(queue),
    );
    const outcomes: Pick<Outcome, 'outcome'>[] = [...known].map(() => ({ outcome: 'known' }));
    for (const [source, deliveries] of bySource)
      outcomes.push(...(await ingest(tx, source, deliveries.map(messageOf), this.#parts.sealer)));
    // By now RabbitMQ may have given them to another bridge.
    if (!this.#alive) throw new Error('the session ended before its messages were committed');
    return { row, outcomes };
  }

  /** What was delivered and is not committed goes back by itself. */
  async close(connection: ChannelModel): Promise<void> {
    this.#alive = false;
    await this.#committing?.catch(() => {});
    await within(
      goodbyeMs,
      connection.close().catch(() => {}),
    );
  }
}

const tagOf = (queue: string) => `rowmill ${queue}`.slice(0, 255);
