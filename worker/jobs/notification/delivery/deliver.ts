import type { z } from 'zod';
import type { App } from '../../../app.ts';
import { persist } from '../../../base/db/persist.ts';
import {
  codeOf,
  DeploymentError,
  isOf,
  PermanentError,
  RetryableError,
  Snooze,
  UnknownOutcome,
} from '../../../base/errors.ts';
import type { Receipt, Sender } from '../../../providers/sender.ts';
import type { ChannelName } from '../../../providers/senders.ts';
import type { Words } from '../../../templates/template.ts';
import type { JobContext } from '../../../queue/job.ts';
import { createHasher } from './hash.ts';
import {
  beginSending,
  noteReceipts,
  openDeliveries,
  pauseBucket,
  putBack,
  settle,
  type Delivery,
  type Request,
} from './ledger.ts';
import { completePayload, noticeOf, type Notice, type noticeFields } from './notice.ts';
import { quietFor } from './quiet.ts';
import { render } from './render.ts';

/** What the steps of an attempt ask of a channel. */
export type Channel<Payload, Message> = {
  name: ChannelName;
  /** In which order providers are tried. */
  senders(app: App): Sender<Message>[];
  /** The address, in the form in which equal ones are equal. @throws PermanentError `invalid_recipient` */
  recipientOf(payload: Payload): string;
  /** The message to send. @param words what the template, or the title and the body, say */
  compose(payload: Payload, words: Words, recipient: string): Message;
  /** Whether messages disturb people at night. */
  personal: boolean;
};

type Fields = z.output<z.ZodObject<typeof noticeFields>>;
type Context<Payload> = Pick<JobContext<Payload>, 'job' | 'app' | 'signal' | 'commit' | 'rateLimit' | 'log'>;
type Sent = { delivery_id: string; provider: string | null; provider_message_id: string | null };
export type Result = (Sent & { repeated?: true }) | { delivery_id: string; skipped: string };

/**
 * One attempt to send one message to one recipient: the same steps for each channel.
 * @throws PermanentError `unknown_outcome`, and what the steps throw
 */
export async function deliver<Payload extends Fields, Message>(
  context: Context<Payload> & { payload: Payload },
  channel: Channel<Payload, Message>,
): Promise<Result> {
  const { app, commit } = context;
  const senders = sendersOf(app, channel);
  const payload = await completePayload(app.db, channel.name, context.payload);
  const notice = noticeOf(payload);
  const recipient = channel.recipientOf(payload);
  const [delivery] = await openDeliveries(app.db, [requestOf(context, channel.name, notice, recipient)]);
  const { id } = delivery!;

  if (hasGoneOut(delivery!)) return sentAs(delivery!, { repeated: true });
  if (delivery!.held) throw new Snooze(2_000, 'another job sends the same notification');
  if (delivery!.suppressed) {
    const skipped = 'suppressed';
    return commit(async (tx) => {
      await settle(tx, [{ id, status: 'skipped', error_code: skipped }]);
      return { delivery_id: id, skipped };
    });
  }
  if (channel.personal) stayQuiet(app, notice);

  const words = await render(app.db, channel.name, notice, app.config.notification.locale);
  const message = channel.compose(payload, words, recipient);
  const attempt = { context, senders, delivery: delivery!, message };
  const { receipt, sender } = (await findEarlier(attempt)) ?? (await send(attempt));

  const sent = { id, provider: sender.name, provider_message_id: receipt.provider_message_id };
  try {
    return await commit(async (tx) => {
      await settle(tx, [{ ...sent, status: 'sent' }]);
      return sentAs({ ...delivery!, ...sent, provider_message_id: receipt.provider_message_id ?? null });
    });
  } catch (error) {
    await noteReceipts(app.db, [sent]);
    throw error;
  }
}

/** @throws DeploymentError `provider_not_configured` */
function sendersOf<Payload, Message>(app: App, { name, senders }: Channel<Payload, Message>): Sender<Message>[] {
  const found = senders(app);
  if (found.length > 0) return found;
  const words = `There is no provider for ${name}: .env.example lists the settings of each`;
  throw new DeploymentError(name, 'provider_not_configured', words);
}

function requestOf({ app, job }: Context<unknown>, channel: string, notice: Notice, recipient: string): Request {
  const hashes = createHasher(app.config);
  const { message_id = `job:${job.id}`, template_id, variables, title, body, locale } = notice;
  const content = JSON.stringify([channel, recipient, template_id, title, body, locale, variables], sortKeys);
  return {
    ...notice,
    job_id: job.id,
    attempt: job.attempt,
    message_id,
    channel,
    content: hashes.of(content),
    recipient: hashes.ofRecipient(recipient),
  };
}

/** Postgres orders the keys of jsonb, other databases and languages do not. */
function sortKeys(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

const hasGoneOut = ({ status }: Delivery) => ['sent', 'delivered', 'read', 'bounced'].includes(status);

const sentAs = ({ id, provider, provider_message_id }: Delivery, more: { repeated?: true } = {}) => ({
  delivery_id: id,
  provider,
  provider_message_id,
  ...more,
});

/** @throws Snooze until the quiet hours are over, unless it is critical */
function stayQuiet({ config }: App, { priority }: Notice): void {
  const { quietHours } = config.notification;
  const wait = quietHours && priority !== 'critical' ? quietFor(quietHours) : 0;
  if (wait > 0) throw new Snooze(wait, 'it is quiet hours', { bounded: false });
}

type Attempt<Message> = {
  context: Context<unknown>;
  senders: Sender<Message>[];
  delivery: Delivery;
  message: Message;
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
      const mayGoOn = isOf(error, RetryableError) || isOf(error, DeploymentError);
      if (!mayGoOn || error.code === 'send_unanswered' || index === senders.length - 1) throw error;
      context.log.warn({ provider: sender.name, error_code: error.code }, 'a provider failed: the next one is tried');
    }
  }
  throw new Error('there is no provider');
}

async function sendOver<Message>(sender: Sender<Message>, attempt: Attempt<Message>): Promise<Gone<Message>> {
  const { context, delivery, message } = attempt;
  const { app, job, signal, rateLimit } = context;
  const bucket = sender.rate?.(message);
  if (bucket) await rateLimit(bucket.key, bucket.perSecond);
  const holder = { job_id: job.id, attempt: job.attempt };
  const mine = await beginSending(app.db, holder, [delivery], sender.name);
  if (!mine.has(delivery.id)) throw new RetryableError('delivery_taken', 'Another execution sends this notification');
  delivery.status = 'sending';
  try {
    return { receipt: await sender.send(message, { key: delivery.id, signal }), sender };
  } catch (error) {
    const isStopped = signal.aborted && error === signal.reason;
    if (!isStopped && !isKnown(error)) throw unanswered(error, sender, app);
    const put = { id: delivery.id, status: 'queued' as const, error_code: codeOf(error) ?? null };
    await persist(() => putBack(app.db, holder, [put]), undefined);
    delivery.status = 'queued';
    if (isOf(error, Snooze) && bucket) await pauseBucket(app.db, bucket, error.delayMs);
    throw error;
  }
}

/** Whether the message certainly was not sent. */
const isKnown = (error: unknown) =>
  isOf(error, PermanentError) || isOf(error, RetryableError) || isOf(error, DeploymentError) || isOf(error, Snooze);

/** The delivery stays `sending`: the next attempt judges it, or the job fails and it is ambiguous. */
function unanswered(error: unknown, { name, find, repeatable }: Sender<never>, app: App): Error {
  if (!find && !repeatable && app.config.notification.ambiguousSend === 'fail')
    return unknownOutcome(name, 'this attempt', error);
  const why = error instanceof UnknownOutcome ? `: ${error.message}` : '';
  return new RetryableError('send_unanswered', `${name} did not say whether it sent the message${why}`, {
    cause: error,
  });
}

function unknownOutcome(provider: string | null, who: string, cause?: unknown): PermanentError {
  const words = `${who} asked ${provider ?? 'a provider'} to send it, and nobody knows whether it did`;
  return new PermanentError('unknown_outcome', `${words}: look whether it arrived before you retry the job`, { cause });
}
