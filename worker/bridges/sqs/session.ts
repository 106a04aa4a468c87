import type { Message as Received, SQSClient } from '@aws-sdk/client-sqs';
import type { SqsConfig, SqsQueue } from '../../base/config/sqs.ts';
import { transaction, type Db } from '../../base/db/db.ts';
import type { Sealer } from '../../queue/client/add.ts';
import { ingest } from '../../queue/ingest/ingest.ts';
import type { Tell } from '../bridge.ts';
import { named, openSqs, type Sdk } from './client.ts';
import { inOrder, messageOf, nameOf } from './message.ts';

type Parts = { queue: SqsQueue; config: SqsConfig; db: Db; sealer: Sealer | undefined };

/** SQS gives ten messages at a time, at most. */
const atOnce = 10;
const waitSeconds = 20;
/** How long SQS gives a message to nobody else: the work on it is one insert. */
const hiddenSeconds = 60;
/** Requests that wait for messages at the same time, while each of them brings ten. */
const mostPolls = 4;
const deleteTries = 3;

/**
 * Takes the messages of one queue. A message is deleted after the commit of its job. If that fails it comes again, and
 * is known by its id.
 * @throws why it ended
 */
export async function runSession(parts: Parts, tell: Tell, signal: AbortSignal): Promise<void> {
  const { sdk, client } = await openSqs(parts.config);
  const failed = new AbortController();
  const session = new Session(parts, sdk, client, tell, AbortSignal.any([signal, failed.signal]));
  try {
    await session.check();
    tell.opened();
    await session.poll();
  } catch (error) {
    failed.abort(error);
    if (!signal.aborted) throw named(error);
  } finally {
    await session.idle();
    client.destroy();
  }
}

class Session {
  readonly #parts: Parts;
  readonly #sdk: Sdk;
  readonly #client: SQSClient;
  readonly #tell: Tell;
  readonly #signal: AbortSignal;
  readonly #polls = new Set<Promise<void>>();

  constructor(parts: Parts, sdk: Sdk, client: SQSClient, tell: Tell, signal: AbortSignal) {
    this.#parts = parts;
    this.#sdk = sdk;
    this.#client = client;
    this.#tell = tell;
    this.#signal = signal;
  }

  get #url(): string {
    return this.#parts.queue.url;
  }

  /** @throws if there is no such queue, or no right to read it */
  async check(): Promise<void> {
    const asked = new this.#sdk.GetQueueAttributesCommand({ QueueUrl: this.#url, AttributeNames: ['QueueArn'] });
    await this.#client.send(asked, { abortSignal: this.#signal });
  }

  /** Resolves when the signal aborts. */
  async poll(): Promise<void> {
    this.#begin();
    // One that fails ends the session.
    while (this.#polls.size > 0) await Promise.race(this.#polls);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#polls);
  }

  #begin(): void {
    const poll = this.#pollUntilFew();
    this.#polls.add(poll);
    void poll.then(() => this.#polls.delete(poll)).catch(() => {});
  }

  /** Receives for as long as this is the only one, or each answer is full. A queue that keeps an order has one. */
  async #pollUntilFew(): Promise<void> {
    const most = this.#url.endsWith('.fifo') ? 1 : mostPolls;
    while (!this.#signal.aborted) {
      const messages = await this.#receive();
      const full = messages.length === atOnce;
      if (full && this.#polls.size < most && !this.#signal.aborted) this.#begin();
      if (messages.length > 0) await this.#take(messages);
      if (!full && this.#polls.size > 1) return;
    }
  }

  async #receive(): Promise<Received[]> {
    const asked = new this.#sdk.ReceiveMessageCommand({
      QueueUrl: this.#url,
      MaxNumberOfMessages: atOnce,
      WaitTimeSeconds: waitSeconds,
      VisibilityTimeout: hiddenSeconds,
      MessageAttributeNames: ['All'],
      MessageSystemAttributeNames: ['All'],
    });
    try {
      const { Messages = [] } = await this.#client.send(asked, { abortSignal: this.#signal });
      return inOrder(Messages);
    } catch (error) {
      if (this.#signal.aborted) return [];
      throw error;
    }
  }

  async #take(messages: readonly Received[]): Promise<void> {
    const { queue, config, db, sealer } = this.#parts;
    try {
      const given = messages.map((message) => messageOf(message, queue, config));
      this.#tell.took(await transaction(db, (tx) => ingest(tx, `sqs:${nameOf(queue)}`, given, sealer)));
    } catch (error) {
      // Others may have them at once.
      await this.#giveBack(messages).catch(() => {});
      throw error;
    }
    await this.#delete(messages);
  }

  /** What cannot be deleted comes again, and is known. */
  async #delete(messages: readonly Received[]): Promise<void> {
    let left = messages.map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle }));
    for (let tries = 0; tries < deleteTries && left.length > 0; tries++) {
      const asked = new this.#sdk.DeleteMessageBatchCommand({ QueueUrl: this.#url, Entries: left });
      const { Failed = [] } = await this.#client.send(asked);
      left = left.filter(({ Id }) => Failed.some((each) => each.Id === Id && !each.SenderFault));
    }
  }

  async #giveBack(messages: readonly Received[]): Promise<void> {
    const Entries = messages.map(({ ReceiptHandle }, n) => ({ Id: String(n), ReceiptHandle, VisibilityTimeout: 0 }));
    await this.#client.send(new this.#sdk.ChangeMessageVisibilityBatchCommand({ QueueUrl: this.#url, Entries }));
  }
}
