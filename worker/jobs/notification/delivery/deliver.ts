import type { App } from '../../../app.ts';
import { transaction, type Tx } from '../../../base/db/db.ts';
import { persist } from '../../../base/db/persist.ts';
import type { Queryable } from '../../../base/db/sql.ts';
import { codeOf } from '../../../base/errors.ts';
import type { Receipt, Sender } from '../../../providers/sender.ts';
import type { ChannelName } from '../../../providers/senders.ts';
import type { Words } from '../../../templates/template.ts';
import type { JobContext } from '../../../queue/job.ts';
import {
  beginOne,
  noteReceipts,
  openDelivery,
  putBack,
  settle,
  suppressRecipient,
  type Delivery,
  type Settled,
} from './ledger.ts';
import { completePayload, noticeOf, type Notice } from './notice.ts';
import { render } from './render.ts';
import {
  hasGoneOut,
  heldByOther,
  isKnown,
  mayGoOn,
  pauseAsTold,
  requestsOf,
  sendersOf,
  sentAs,
  stayQuiet,
  takenByOther,
  thatTake,
  unanswered,
  unknownOutcome,
  type Fields,
  type Sent,
} from './steps.ts';

/** What the steps of an attempt ask of a channel. */
export type Channel<Payload, Message> = {
  name: ChannelName;
  /** In which order providers are tried. */
  senders(app: App): Sender<Message>[];
  /** The address, in the form in which equal ones are equal. @throws PermanentError `invalid_recipient` */
  recipientOf(payload: Payload): string;
  /** What the message says beside the words of its notice: another one under the same message_id is refused. */
  ownContent?(payload: Payload): unknown;
  /** The message to send. */
  compose(payload: Payload, recipient: string, making: Making): Promise<Message>;
  /** Whether messages disturb people at night. */
  personal: boolean;
  /**
   * Writes down how it went with a recipient, in the transaction that writes the delivery.
   * @param error why the message was not sent, or perhaps not; undefined: it was
   */
  noteOutcome?(tx: Queryable, app: App, recipient: string, error?: unknown): Promise<void>;
};

/** `words` gives what the template, or the title and the body, say: a message that has words of its own needs none. */
type Making = { app: App; notice: Notice; delivery_id: string; words: () => Promise<Words> };
type Context<Payload> = Pick<JobContext<Payload>, 'job' | 'app' | 'signal' | 'commitTogether' | 'rateLimit' | 'log'>;
export type Result = (Sent & { repeated?: true }) | { delivery_id: string; skipped: string };

/**
 * One attempt to send one message to one recipient: the same steps for each channel.
 * @throws PermanentError `unknown_outcome`, and what the steps throw
 */
export async function deliver<Payload extends Fields, Message>(
  context: Context<Payload> & { payload: Payload },
  channel: Channel<Payload, Message>,
): Promise<Result> {
  const { app, commitTogether } = context;
  const senders = sendersOf(app, channel);
  const payload = await completePayload(app, channel.name, context.payload);
  const notice = noticeOf(payload);
  const recipient = channel.recipientOf(payload);
  const all = { addressee: recipient, own: channel.ownContent?.(payload) };
  const [request] = requestsOf(context, channel.name, notice, all);
  const delivery = await openDelivery(app.db, request!);
  const { id } = delivery;

  if (hasGoneOut(delivery)) return sentAs(delivery, { repeated: true });
  if (delivery.held) throw heldByOther();
  if (delivery.suppressed) {
    const skipped: Settled = { id, status: 'skipped', error_code: 'suppressed' };
    return commitTogether(conclude, { settled: skipped, recipient }, { delivery_id: id, skipped: 'suppressed' });
  }
  if (channel.personal) stayQuiet(app, notice);

  const words = () => render(app.db, channel.name, notice, app.config.notification.locale);
  const message = await channel.compose(payload, recipient, { app, notice, delivery_id: id, words });
  const note = async (tx: Queryable, error?: unknown) => channel.noteOutcome?.(tx, app, recipient, error);
  const attempt = { context, senders: thatTake(message, senders), delivery, message, note };
  const { receipt, sender } = (await findEarlier(attempt)) ?? (await send(attempt));

  const sent = { id, provider: sender.name, provider_message_id: receipt.provider_message_id };
  try {
    const result = sentAs({ ...delivery, ...sent, provider_message_id: receipt.provider_message_id ?? null });
    return await commitTogether(conclude, { settled: { ...sent, status: 'sent' }, recipient, note }, result);
  } catch (error) {
    await noteReceipts(app.db, [sent]);
    throw error;
  }
}

type Concluded = { settled: Settled; recipient: string; note?: (tx: Queryable) => Promise<void> };

/** Those of all jobs that commit at this moment. Outcomes are noted in one order, so that no two workers deadlock. */
async function conclude(tx: Tx, all: Concluded[]): Promise<void> {
  await settle(
    tx,
    all.map(({ settled }) => settled),
  );
  for (const { note } of all.toSorted((a, b) => (a.recipient < b.recipient ? -1 : 1))) await note?.(tx);
}

type Attempt<Message> = {
  context: Context<unknown>;
  senders: Sender<Message>[];
  delivery: Delivery;
  message: Message;
  note: (tx: Queryable, error: unknown) => Promise<void>;
};
type Gone<Message> = { receipt: Receipt; sender: Sender<Message> };

/**
 * If an earlier attempt died while it was sending, nobody knows whether the message went out. The provider is asked
 * where it can be; where sending twice disturbs nobody, or a person or a setting asks for it, it is sent again.
 */
async function findEarlier<Message>({ context: { app, signal }, senders, delivery, message }: Attempt<Message>) {
  const { status, provider, sending_at: since, id: key, foreign_ambiguity } = delivery;
  if (status !== 'sending' && status !== 'ambiguous') return undefined;
  if (foreign_ambiguity) throw unknownOutcome(provider, 'another job');
  const sender = senders.find(({ name }) => name === provider);
  if (sender?.find && since) {
    const receipt = await sender.find(message, { key, since, signal });
    return receipt && { receipt, sender };
  }
  // A person has retried a job of which that was known.
  if (status === 'ambiguous') return undefined;
  if (sender?.repeatable || app.config.notification.ambiguousSend === 'resend') return undefined;
  throw unknownOutcome(provider, 'an earlier attempt');
}

/** Asks one provider after another, until one has sent the message. */
async function send<Message>(attempt: Attempt<Message>): Promise<Gone<Message>> {
  const { senders, context } = attempt;
  for (const [index, sender] of senders.entries()) {
    try {
      return await sendOver(sender, attempt);
    } catch (error) {
      if (!mayGoOn(error) || index === senders.length - 1) throw error;
      context.log.warn({ provider: sender.name, error_code: error.code }, 'a provider failed: the next one is tried');
    }
  }
  throw new Error('there is no provider');
}

async function sendOver<Message>(sender: Sender<Message>, attempt: Attempt<Message>): Promise<Gone<Message>> {
  const { context, delivery, message, note } = attempt;
  const { app, job, signal, rateLimit } = context;
  const bucket = sender.rate?.(message);
  if (bucket) await rateLimit(bucket.key, bucket.perSecond);
  const holder = { job_id: job.id, attempt: job.attempt };
  const { id, status } = delivery;
  if (!(await beginOne(app.db, { id, status, ...holder, provider: sender.name }))) throw takenByOther();
  delivery.status = 'sending';
  try {
    return { receipt: await sender.send(message, { key: delivery.id, signal }), sender };
  } catch (error) {
    const isStopped = signal.aborted && error === signal.reason;
    if (!isStopped && !isKnown(error)) {
      if (!signal.aborted) await persist(() => note(app.db, error), undefined);
      throw unanswered(error, sender, app);
    }
    const put = { id: delivery.id, ...holder, status: 'queued' as const, error_code: codeOf(error) ?? null };
    const write = async (tx: Tx) => {
      await putBack(tx, [put]);
      if (!isStopped) await note(tx, error);
    };
    await persist(() => transaction(app.db, write), undefined);
    delivery.status = 'queued';
    if (codeOf(error) === 'recipient_opted_out')
      await persist(() => suppressRecipient(app.db, delivery.id, 'opted out'), undefined);
    await pauseAsTold(app, [error], bucket);
    throw error;
  }
}
