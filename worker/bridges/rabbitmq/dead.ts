import { setTimeout as sleep } from 'node:timers/promises';
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { transaction, type Db, type Tx } from '../../base/db/db.ts';
import { loadStatements, query } from '../../base/db/sql.ts';
import type { RabbitmqConfig } from '../../base/config/rabbitmq.ts';
import { within } from '../../base/deadline.ts';
import { connectTo } from './connect.ts';
import { makeQueue } from './topology.ts';

/**
 * Publishes dead letters: those of the queue media to the queue media.dead. Each at least once, with the id of its job
 * as messageId.
 */

const sql = loadStatements(import.meta.dirname, 'dead.sql', ['unpublished', 'published', 'forget_retried']);

type DeadLetter = {
  id: number;
  queue: string;
  kind: string;
  dead_queue: string;
  payload: unknown;
  error_code: string | null;
  error: string | null;
  /** As text: a Date has no microseconds. */
  failed_at: string;
};
type Parts = { config: RabbitmqConfig; db: Db };

const most = 100;
const everyMs = 2_000;
const goodbyeMs = 2_000;

/** As runSession, until the signal aborts. @throws why it cannot go on */
export async function runDead({ config, db }: Parts, opened: () => void, signal: AbortSignal): Promise<void> {
  const connection = await connectTo(config.url, signal);
  const lost = Promise.withResolvers<never>();
  lost.promise.catch(() => {});
  connection.on('error', lost.reject).on('close', () => lost.reject(new Error('RabbitMQ closed the connection')));
  try {
    const work = async () => {
      const channel = await connection.createConfirmChannel();
      channel.on('error', lost.reject).on('close', () => lost.reject(new Error('RabbitMQ closed the channel')));
      channel.on('return', () => lost.reject(new Error('RabbitMQ returned a dead letter: its queue is gone')));
      opened();
      await query(db, sql.forget_retried);
      const made = new Set<string>();
      while (!signal.aborted) {
        const published = await publishSome({ connection, channel, config, db, made, lost: lost.promise });
        if (published < most) await sleep(everyMs, undefined, { signal }).catch(() => {});
      }
    };
    await Promise.race([work(), lost.promise]);
  } finally {
    await within(
      goodbyeMs,
      connection.close().catch(() => {}),
    );
  }
}

type Publishing = Parts & {
  connection: ChannelModel;
  channel: ConfirmChannel;
  /** The queues that exist. */
  made: Set<string>;
  lost: Promise<never>;
};

/** @returns how many */
async function publishSome({ connection, channel, config, db, made, lost }: Publishing): Promise<number> {
  return transaction(db, async (tx: Tx) => {
    // One process at a time: the next does not see these any more.
    await tx.query('lock table bridge_dead in share row exclusive mode');
    const letters = await query<DeadLetter>(tx, sql.unpublished, { limit: most });
    if (letters.length === 0) return 0;
    for (const name of new Set(letters.map(({ dead_queue }) => dead_queue).filter((queue) => !made.has(queue)))) {
      await makeQueue(connection, config, name);
      made.add(name);
    }
    for (const letter of letters) publish(channel, letter);
    await Promise.race([channel.waitForConfirms(), lost]);
    await query(tx, sql.published, {
      job_ids: letters.map(({ id }) => id),
      failed_ats: letters.map(({ failed_at }) => failed_at),
    });
    return letters.length;
  });
}

function publish(channel: ConfirmChannel, letter: DeadLetter): void {
  const { id, queue, kind, dead_queue, payload, error_code, error } = letter;
  channel.publish('', dead_queue, Buffer.from(JSON.stringify(payload)), {
    persistent: true,
    mandatory: true,
    contentType: 'application/json',
    messageId: String(id),
    type: `${queue}.${kind}`,
    headers: {
      'x-first-death-queue': queue,
      'x-first-death-reason': 'rejected',
      'x-rowmill-job-id': String(id),
      'x-rowmill-error-code': error_code ?? '',
      'x-rowmill-error': (error ?? '').slice(0, 2_000),
    },
  });
}
