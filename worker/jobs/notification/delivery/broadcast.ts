import type { App } from '../../../app.ts';
import { persist } from '../../../base/db/persist.ts';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { codeOf, DeploymentError, isOf, PermanentError, Snooze } from '../../../base/errors.ts';
import type { JobContext } from '../../../queue/job.ts';
import type { Words } from '../../../templates/template.ts';
import type { ManyChannel } from './deliver-many.ts';
import { openDeliveries, settle, writeReceipts, type Delivery, type Settled } from './ledger.ts';
import { noticeOf } from './notice.ts';
import { render } from './render.ts';
import { patiently, sendMany, type Parcel } from './send-many.ts';
import { hasGoneOut, heldByOther, requestsOf, sendersOf, stayQuiet, type Fields } from './steps.ts';

const sql = loadStatements(import.meta.dirname, 'broadcast.sql', ['give_up', 'end_notification']);

/** Users. `failureCount` includes those of whom nobody knows: `unknownCount`. Together they are all users. */
type BroadcastResult = { successCount: number; failureCount: number; unknownCount: number };

/** So many users at a time. If the worker is killed, nobody knows of the messages of one call. */
const chunk = 100;
/** Then the job makes room for others, and comes back. */
const longestMs = 240_000;

/**
 * Tells many users one thing, chunk by chunk. The deliveries are its memory: a repeat goes through all users again, and
 * sends to those only whose delivery says that nothing was sent.
 */
export async function broadcast<Payload extends Fields & { userIds: string[] }, Message>(
  context: JobContext<Payload>,
  channel: Omit<ManyChannel<Payload, Message>, 'addressOf'>,
): Promise<BroadcastResult> {
  const { app, job, payload, signal, progress, commit } = context;
  const notice = noticeOf(payload);
  stayQuiet(app, notice);
  sendersOf(app, channel);
  const words = await render(app.db, channel.name, notice, app.config.notification.locale);
  const userIds = [...new Set(payload.userIds)];
  const tally: Tally = { told: new Set(), unknown: new Set(), skipped: [], again: [] };
  const began = performance.now();

  for (let at = 0; at < userIds.length; at += chunk) {
    signal.throwIfAborted();
    if (performance.now() - began > longestMs) throw new Snooze(1_000, 'the other users follow', { bounded: false });
    await tellSome(
      context,
      channel,
      { words, addressee: `users ${userIds.join(' ')}` },
      userIds.slice(at, at + chunk),
      tally,
    );
    progress((100 * Math.min(at + chunk, userIds.length)) / userIds.length);
  }
  // On the last attempt, those whose turn did not come have failed.
  if (tally.again[0] && job.retry_count < job.max_retries) throw tally.again[0].error;

  const { told, unknown, skipped, again } = tally;
  const settled: Settled[] = [
    ...skipped.map((id) => ({ id, status: 'skipped' as const, error_code: 'suppressed' })),
    ...again.map(({ id, error }) => ({
      id,
      status: 'failed' as const,
      error_code: codeOf(error) ?? 'unexpected_error',
    })),
  ];
  return commit(async (tx) => {
    const message_id = notice.message_id ?? `job:${job.id}`;
    await query(tx, sql.end_notification, { message_id, status: told.size > 0 ? 'sent' : 'failed' });
    if (settled.length > 0) await settle(tx, settled);
    const unknownCount = unknown.difference(told).size;
    return { successCount: told.size, failureCount: userIds.length - told.size, unknownCount };
  });
}

type Tally = {
  /** Users of whom at least one device was told. */
  told: Set<string>;
  /** Users of whom nobody knows. */
  unknown: Set<string>;
  /** Deliveries to suppressed recipients. */
  skipped: string[];
  /** Deliveries that must be tried again, and why. */
  again: { id: string; error: Error }[];
};

async function tellSome<Payload extends Fields & { userIds: string[] }, Message>(
  context: JobContext<Payload>,
  channel: Omit<ManyChannel<Payload, Message>, 'addressOf'>,
  { words, addressee }: { words: Words; addressee: string },
  userIds: string[],
  tally: Tally,
): Promise<void> {
  const { app, job, payload, signal, log } = context;
  const devices = [...(await channel.recipientsOf(app, userIds))].flatMap(([userId, all]) =>
    all.map((recipient) => ({ userId, recipient })),
  );
  if (devices.length === 0) return;
  const recipients = devices.map(({ recipient }) => recipient);
  const requests = requestsOf(context, channel.name, noticeOf(payload), { addressee, recipients });
  const deliveries = await openDeliveries(app.db, requests);

  const userOf = new Map<Parcel<Message>, string>();
  const lost: string[] = [];
  for (const [index, { userId, recipient }] of devices.entries()) {
    const delivery = deliveries[index]!;
    const what = judgeEarlier(app, delivery);
    if (what === 'told') tally.told.add(userId);
    if (what === 'suppressed') tally.skipped.push(delivery.id);
    if (what === 'unknown') {
      tally.unknown.add(userId);
      lost.push(delivery.id);
    }
    if (what !== 'untold') continue;
    const message = channel.compose(payload, words, recipient);
    userOf.set({ job_id: job.id, attempt: job.attempt, delivery, recipient, message }, userId);
  }
  const parcels = [...userOf.keys()];
  await sendMany(parcels, {
    app,
    senders: sendersOf(app, channel),
    signal,
    log,
    rateLimit: (key, perSecond, n) => patiently(context, key, perSecond, n),
    refused: (none) => channel.refused(app, none),
  });
  await remember(context, parcels, lost, (parcel) => userOf.get(parcel)!, tally);
}

/** What is known of a delivery before this attempt sends anything. */
function judgeEarlier({ config }: App, delivery: Delivery): 'told' | 'untold' | 'unknown' | 'suppressed' {
  if (hasGoneOut(delivery)) return 'told';
  if (delivery.held) throw heldByOther();
  if (delivery.suppressed) return 'suppressed';
  const isUnknown = delivery.status === 'sending' || delivery.status === 'ambiguous';
  return isUnknown && (delivery.foreign_ambiguity || config.notification.ambiguousSend === 'fail')
    ? 'unknown'
    : 'untold';
}

/** @throws what concerns all: the provider is down, or says when to come back */
async function remember<Message>(
  { app, job }: JobContext<unknown>,
  parcels: Parcel<Message>[],
  lost: string[],
  userOf: (parcel: Parcel<Message>) => string,
  tally: Tally,
): Promise<void> {
  const receipts = parcels.flatMap(({ delivery: { id }, outcome }) =>
    !outcome || outcome instanceof Error
      ? []
      : [{ id, provider: outcome.provider, provider_message_id: outcome.receipt.provider_message_id }],
  );
  if (receipts.length > 0) await persist(() => writeReceipts(app.db, receipts), undefined);
  let stop: Error | undefined;
  for (const parcel of parcels) {
    const { outcome, delivery } = parcel;
    if (!(outcome instanceof Error)) tally.told.add(userOf(parcel));
    else if (codeOf(outcome) === 'send_unanswered' && app.config.notification.ambiguousSend === 'fail') {
      tally.unknown.add(userOf(parcel));
      lost.push(delivery.id);
    } else if (isOf(outcome, Snooze) || isOf(outcome, DeploymentError)) stop ??= outcome;
    else if (!isOf(outcome, PermanentError)) tally.again.push({ id: delivery.id, error: outcome });
  }
  if (lost.length > 0) {
    const { id: job_id, attempt } = job;
    await persist(() => query(app.db, sql.give_up, { ids: lost, job_id, attempt }), undefined);
  }
  if (stop) throw stop;
}
