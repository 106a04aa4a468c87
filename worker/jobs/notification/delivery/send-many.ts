import { setTimeout as sleep } from 'node:timers/promises';
import type { App } from '../../../app.ts';
import { persist } from '../../../base/db/persist.ts';
import { codeOf, isOf, messageOf, PermanentError, Snooze } from '../../../base/errors.ts';
import type { Log } from '../../../base/log.ts';
import type { Receipt, Sender } from '../../../providers/sender.ts';
import type { JobContext } from '../../../queue/job.ts';
import { beginSending, putBack, type Delivery, type Holder } from './ledger.ts';
import { isKnown, mayGoOn, pauseAsTold, takenByOther, unanswered } from './steps.ts';

/** One message to one recipient, among others that are sent with it. */
export type Parcel<Message> = Holder & {
  delivery: Delivery;
  recipient: string;
  message: Message;
  /** What became of it: an Error is what the job of this message alone would have thrown. */
  outcome?: { provider: string; receipt: Receipt } | Error;
};

export type SendingMany<Message> = {
  app: App;
  senders: Sender<Message>[];
  signal: AbortSignal;
  log: Log;
  /** Waits for so many tokens of the bucket. */
  rateLimit(key: string, perSecond: number, n: number): Promise<void>;
  /** Told which recipients are none, as the provider says. */
  refused?(recipients: string[]): Promise<void>;
};

/** The most messages of one call. FCM takes 500. */
const most = 500;

/** Sends each message over one provider after another, until one has sent it. Never throws: see `outcome`. */
export async function sendMany<Message>(parcels: Parcel<Message>[], options: SendingMany<Message>): Promise<void> {
  const { senders, log } = options;
  let left = parcels;
  for (const [index, sender] of senders.entries()) {
    const perSecond = left[0] && sender.rate?.(left[0].message)?.perSecond;
    // What takes seconds to get its tokens is sent part by part, as they come.
    const size = Math.max(1, Math.min(most, Math.floor(perSecond ?? most)));
    for (let at = 0; at < left.length; at += size) await sendPart(left.slice(at, at + size), sender, options);
    left = left.filter(({ outcome }) => mayGoOn(outcome));
    if (left.length === 0 || index === senders.length - 1) return;
    const error_code = codeOf(left[0]!.outcome);
    log.warn({ provider: sender.name, error_code, messages: left.length }, 'a provider failed: the next one is tried');
  }
}

async function sendPart<Message>(
  part: Parcel<Message>[],
  sender: Sender<Message>,
  options: SendingMany<Message>,
): Promise<void> {
  const { app, signal, rateLimit } = options;
  const bucket = sender.rate?.(part[0]!.message);
  try {
    signal.throwIfAborted();
    if (bucket) await rateLimit(bucket.key, bucket.perSecond, part.length);
    const begun = part.map(({ delivery: { id, status }, job_id, attempt }) => ({ id, status, job_id, attempt }));
    const mine = await beginSending(app.db, begun, sender.name);
    for (const parcel of part) if (!mine.has(parcel.delivery.id)) parcel.outcome = takenByOther();
    const held = part.filter(({ delivery }) => mine.has(delivery.id));
    const answers = held.length > 0 ? await ask(sender, held, signal) : [];
    await note(held, answers, sender, options);
    await pauseAsTold(app, answers, bucket);
  } catch (error) {
    for (const parcel of part) parcel.outcome ??= asError(error);
  }
}

/** What the provider says about each. Never throws. */
async function ask<Message>(
  sender: Sender<Message>,
  parcels: Parcel<Message>[],
  signal: AbortSignal,
): Promise<(Receipt | Error)[]> {
  const messages = parcels.map(({ message, delivery }) => ({ message, key: delivery.id }));
  if (!sender.sendMany)
    return Promise.all(messages.map(({ message, key }) => sender.send(message, { key, signal }).catch(asError)));
  try {
    return await sender.sendMany(messages, { signal });
  } catch (error) {
    return parcels.map(() => asError(error));
  }
}

/** What certainly was not sent is put back. What may have been sent stays `sending`. */
async function note<Message>(
  parcels: Parcel<Message>[],
  answers: (Receipt | Error)[],
  sender: Sender<Message>,
  { app, signal, refused }: SendingMany<Message>,
): Promise<void> {
  const back: Parameters<typeof putBack>[1] = [];
  const none: string[] = [];
  for (const [index, parcel] of parcels.entries()) {
    const { delivery, job_id, attempt, recipient } = parcel;
    const answer = answers[index]!;
    delivery.status = 'sending';
    delivery.provider = sender.name;
    if (!(answer instanceof Error)) {
      parcel.outcome = { provider: sender.name, receipt: answer };
      continue;
    }
    const isStopped = signal.aborted && answer === signal.reason;
    parcel.outcome = isStopped || isKnown(answer) ? answer : unanswered(answer, sender, app);
    if (parcel.outcome !== answer) continue;
    delivery.status = isOf(answer, PermanentError) ? 'failed' : 'queued';
    back.push({ id: delivery.id, job_id, attempt, status: delivery.status, error_code: codeOf(answer) ?? null });
    if (codeOf(answer) === 'invalid_recipient') none.push(recipient);
  }
  if (back.length > 0) await persist(() => putBack(app.db, back), undefined);
  if (none.length > 0) await refused?.(none);
}

const asError = (error: unknown) => (error instanceof Error ? error : new Error(messageOf(error)));

/** If their turn comes later, the jobs come back for it: each by itself, which costs far more than to wait. */
const longestWaitMs = 30_000;

/** Waits for the turn of many messages. @throws Snooze if it comes much later */
export async function patiently(
  { rateLimit, waiting, signal }: JobContext<unknown>,
  key: string,
  perSecond: number,
  n: number,
): Promise<void> {
  for (const until = performance.now() + longestWaitMs; ;) {
    try {
      return await rateLimit(key, perSecond, n);
    } catch (error) {
      if (!isOf(error, Snooze) || performance.now() + error.delayMs > until) throw error;
      await waiting(`the rate limit ${key}`, sleep(error.delayMs, undefined, { signal }));
    }
  }
}
