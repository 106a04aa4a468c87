import type { App } from '../../../app.ts';
import { isTransient } from '../../../base/db/db.ts';
import { isOf, messageOf, PermanentError, Snooze } from '../../../base/errors.ts';
import type { BatchContext, JobContext } from '../../../queue/job.ts';
import type { Words } from '../../../templates/template.ts';
import type { Channel } from './deliver.ts';
import { noteReceipts, openDeliveries, settle, type Delivery, type Request, type Settled } from './ledger.ts';
import { completePayload, noticeOf, type Notice } from './notice.ts';
import { render } from './render.ts';
import { patiently, sendMany, type Parcel } from './send-many.ts';
import {
  hasGoneOut,
  heldByOther,
  requestsOf,
  sendersOf,
  sentAs,
  stayQuiet,
  unknownOutcome,
  type Fields,
  type Sent,
} from './steps.ts';

/** A channel on which many messages go out by one call, and a user may have several addresses. */
export type ManyChannel<Payload, Message> = Pick<Channel<Payload, Message>, 'name' | 'senders' | 'personal'> & {
  /** The address, or the user, to whose addresses it goes. @throws PermanentError `invalid_recipient` */
  addressOf(payload: Payload): { recipient: string } | { userId: string };
  /** The message to send. @param words what the template, or the title and the body, say */
  compose(payload: Payload, words: Words, recipient: string): Message;
  /** The addresses of users. */
  recipientsOf(app: App, userIds: string[]): Promise<Map<string, string[]>>;
  /** These addresses are none, says a provider. */
  refused(app: App, recipients: string[]): Promise<void>;
};

type Counts = { successCount: number; failureCount: number; deliveries: Sent[] };
type ManyResult = (Sent & { repeated?: true }) | Counts | { delivery_id?: string; skipped: string };

/** A job of the batch. */
class Task<Payload, Message> {
  readonly context: JobContext<Payload>;
  payload!: Payload;
  notice!: Notice;
  /** Undefined: the job names its only recipient. */
  userId: string | undefined;
  recipients: string[] = [];
  requests: Request[] = [];
  /** In the order of the recipients. */
  deliveries: Delivery[] = [];
  /** What is to be sent. */
  parcels: Parcel<Message>[] = [];
  /** Its result, or the Error that it failed with. */
  answer: ManyResult | Error | undefined;

  constructor(context: JobContext<Payload>) {
    this.context = context;
  }
}

/**
 * One attempt of many jobs: the steps of `deliver`, each for all of them. A job that does wrong is answered with its
 * own error, and its neighbours go on.
 */
export async function deliverMany<Payload extends Fields, Message>(
  contexts: JobContext<Payload>[],
  batch: BatchContext<Payload>,
  channel: ManyChannel<Payload, Message>,
): Promise<unknown[]> {
  const { app } = contexts[0]!;
  const senders = sendersOf(app, channel);
  const tasks = contexts.map((context) => new Task<Payload, Message>(context));

  await address(app, tasks, channel);
  await openAll(app, undecided(tasks));
  await each(undecided(tasks), (task) => compose(task, channel, app));

  const parcels = undecided(tasks).flatMap((task) => task.parcels);
  await sendMany(parcels, {
    app,
    senders,
    signal: allOf(contexts.map(({ signal }) => signal)),
    log: app.log.child({ kind: `notification.${channel.name}` }),
    rateLimit: (key, perSecond, n) => rateLimitFor(contexts, key, perSecond, n),
    refused: (recipients) => channel.refused(app, recipients),
  });
  for (const task of undecided(tasks)) task.answer = answerOf(task);
  await conclude(app, batch, tasks);
  return tasks.map(({ answer }) => answer);
}

type Tasks = Task<any, any>[];

const undecided = <Payload, Message>(tasks: Task<Payload, Message>[]) =>
  tasks.filter(({ answer }) => answer === undefined);

/** What goes wrong for one task is its own error. */
async function each<T extends Task<any, any>>(tasks: T[], work: (task: T) => Promise<void>): Promise<void> {
  const guarded = async (task: T) => {
    await work(task).catch((error: unknown) => {
      task.answer = error instanceof Error ? error : new Error(messageOf(error));
    });
  };
  await Promise.all(tasks.map(guarded));
}

/** Reads what is to be told, and to whom. */
async function address<Payload extends Fields, Message>(
  app: App,
  tasks: Task<Payload, Message>[],
  { name, addressOf, recipientsOf }: ManyChannel<Payload, Message>,
): Promise<void> {
  await each(tasks, async (task) => {
    task.payload = await completePayload(app, name, task.context.payload);
    task.notice = noticeOf(task.payload);
    const found = addressOf(task.payload);
    if ('recipient' in found) task.recipients = [found.recipient];
    else task.userId = found.userId;
  });
  const ofUsers = undecided(tasks).filter(({ userId }) => userId !== undefined);
  const known =
    ofUsers.length > 0
      ? await recipientsOf(
          app,
          ofUsers.map(({ userId }) => userId!),
        )
      : new Map();
  for (const task of ofUsers) {
    task.recipients = known.get(task.userId) ?? [];
    if (task.recipients.length === 0) task.answer = { skipped: 'no_recipient' };
  }
  await each(undecided(tasks), async (task) => {
    const { context, notice, userId, recipients } = task;
    const addressee = userId === undefined ? recipients[0]! : `user ${userId}`;
    task.requests = requestsOf(context, name, notice, { addressee, recipients });
  });
}

/** Opens the deliveries of all tasks together, or of each alone if that fails. */
async function openAll(app: App, tasks: Tasks): Promise<void> {
  const seen = new Set<string>();
  for (const task of tasks) {
    const { message_id, notification_id } = task.requests[0]!;
    const names = [`message ${message_id}`, ...(notification_id === undefined ? [] : [`row ${notification_id}`])];
    if (names.some((name) => seen.has(name))) task.answer = heldByOther();
    for (const name of names) seen.add(name);
  }
  await openTogether(app, undecided(tasks));
}

async function openTogether(app: App, tasks: Tasks): Promise<void> {
  if (tasks.length === 0) return;
  try {
    const found = await openDeliveries(
      app.db,
      tasks.flatMap(({ requests }) => requests),
    );
    let at = 0;
    for (const task of tasks) task.deliveries = found.slice(at, (at += task.requests.length));
  } catch (error) {
    if (tasks.length > 1 && !isTransient(error)) for (const task of tasks) await openTogether(app, [task]);
    else await each(tasks, () => Promise.reject(error as Error));
  }
}

/** What is left to be sent of a task. */
async function compose<Payload extends Fields, Message>(
  task: Task<Payload, Message>,
  { name, personal, compose: composed, senders }: ManyChannel<Payload, Message>,
  app: App,
): Promise<void> {
  const { context, notice, payload, recipients, deliveries } = task;
  if (deliveries.some(({ held }) => held)) throw heldByOther();
  const left = recipients
    .map((recipient, index) => ({ recipient, delivery: deliveries[index]! }))
    .filter(({ delivery }) => !hasGoneOut(delivery) && !delivery.suppressed);
  if (left.length === 0) return;
  if (personal) stayQuiet(app, notice);
  const mayRepeat =
    app.config.notification.ambiguousSend === 'resend' || senders(app).every(({ repeatable }) => repeatable);
  for (const { delivery } of left) {
    if (delivery.foreign_ambiguity) throw unknownOutcome(delivery.provider, 'another job');
    if (delivery.status === 'sending' && !mayRepeat) throw unknownOutcome(delivery.provider, 'an earlier attempt');
  }
  const words = await render(app.db, name, notice, app.config.notification.locale);
  const { id: job_id, attempt } = context.job;
  task.parcels = left.map(({ recipient, delivery }) => {
    return { job_id, attempt, delivery, recipient, message: composed(payload, words, recipient) };
  });
}

const outcomeIn = (task: Tasks[number], { id }: Delivery) =>
  task.parcels.find(({ delivery }) => delivery.id === id)?.outcome;

/** What a task that has sent what it could is answered with. */
function answerOf(task: Tasks[number]): ManyResult | Error {
  const { deliveries, parcels, userId } = task;
  const errors = parcels.flatMap(({ outcome }) => (outcome instanceof Error ? [outcome] : []));
  const again = errors.find((error) => !isOf(error, PermanentError));
  if (again) return again;
  const sent = deliveries.flatMap((delivery): Sent[] => {
    const outcome = outcomeIn(task, delivery);
    if (outcome instanceof Error || (!outcome && !hasGoneOut(delivery))) return [];
    if (!outcome) return [sentAs(delivery, { repeated: true })];
    const { provider, receipt } = outcome;
    return [sentAs({ id: delivery.id, provider, provider_message_id: receipt.provider_message_id ?? null })];
  });
  if (sent.length === 0) return errors[0] ?? { delivery_id: deliveries[0]!.id, skipped: 'suppressed' };
  if (userId === undefined) return sent[0]!;
  return { successCount: sent.length, failureCount: deliveries.length - sent.length, deliveries: sent };
}

/** What the transaction that completes a task writes to the ledger. */
const settledOf = (task: Tasks[number]): Settled[] =>
  task.deliveries.flatMap((delivery): Settled[] => {
    const outcome = outcomeIn(task, delivery);
    if (outcome && !(outcome instanceof Error)) {
      const { provider, receipt } = outcome;
      return [{ id: delivery.id, status: 'sent', provider, provider_message_id: receipt.provider_message_id }];
    }
    const isSkipped = delivery.suppressed && !hasGoneOut(delivery);
    return isSkipped ? [{ id: delivery.id, status: 'skipped', error_code: 'suppressed' }] : [];
  });

/**
 * Completes the tasks that are done. What was sent of the others, and of those that were cancelled meanwhile, is noted,
 * so that it is not sent again.
 */
async function conclude(app: App, batch: BatchContext<any>, tasks: Tasks): Promise<void> {
  const byId = new Map(tasks.map((task) => [task.context.job.id, task]));
  const isDone = ({ answer, deliveries }: Tasks[number]) => !(answer instanceof Error) && deliveries.length > 0;
  let done = new Map<number, unknown>();
  try {
    if (tasks.some(isDone))
      done = await batch.commitMany(async (tx, held) => {
        const mine = held.map(({ job }) => byId.get(job.id)!).filter(isDone);
        const settled = mine.flatMap(settledOf);
        if (settled.length > 0) await settle(tx, settled);
        return new Map(mine.map(({ context, answer }) => [context.job.id, answer]));
      });
  } finally {
    const others = tasks.filter(({ context }) => !done.has(context.job.id));
    const receipts = others.flatMap(settledOf).filter(({ status }) => status === 'sent');
    if (receipts.length > 0) await noteReceipts(app.db, receipts);
  }
}

/** Aborts when all of them have. */
function allOf(signals: AbortSignal[]): AbortSignal {
  const all = new AbortController();
  let left = signals.length;
  const one = (reason: unknown) => {
    if (--left === 0) all.abort(reason);
  };
  for (const signal of signals)
    if (signal.aborted) one(signal.reason);
    else signal.addEventListener('abort', () => one(signal.reason), { once: true });
  return all.signal;
}

/** One job waits for all. If it is stopped meanwhile, the others go on with the tokens that it took. */
async function rateLimitFor(contexts: JobContext<any>[], key: string, perSecond: number, n: number): Promise<void> {
  const context = contexts.find(({ signal }) => !signal.aborted) ?? contexts[0]!;
  try {
    await patiently(context, key, perSecond, n);
  } catch (error) {
    if (isOf(error, Snooze) || !context.signal.aborted) throw error;
  }
}
