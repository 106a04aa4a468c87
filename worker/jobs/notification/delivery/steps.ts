import type { z } from 'zod';
import type { App } from '../../../app.ts';
import { DeploymentError, isOf, PermanentError, RetryableError, Snooze, UnknownOutcome } from '../../../base/errors.ts';
import { SnoozeAlone, type Sender } from '../../../providers/sender.ts';
import type { ChannelName } from '../../../providers/senders.ts';
import type { JobContext } from '../../../queue/job.ts';
import { createHasher } from './hash.ts';
import { pauseBucket, type Delivery, type Request } from './ledger.ts';
import type { Notice, noticeFields } from './notice.ts';
import { quietFor } from './quiet.ts';

/** What an attempt that sends one message, and one that sends many, have in common. */

export type Fields = z.output<z.ZodObject<typeof noticeFields>>;
type Sending<Message> = { name: ChannelName; senders(app: App): Sender<Message>[] };
export type Sent = { delivery_id: string; provider: string | null; provider_message_id: string | null };

/** @throws DeploymentError `provider_not_configured` */
export function sendersOf<Message>(app: App, { name, senders }: Sending<Message>): Sender<Message>[] {
  const found = senders(app);
  if (found.length > 0) return found;
  const words = `There is no provider for ${name}: .env.example lists the settings of each`;
  throw new DeploymentError(name, 'provider_not_configured', words);
}

/** @throws PermanentError `invalid_payload` if none of them takes the message */
export function thatTake<Message>(message: Message, senders: Sender<Message>[]): Sender<Message>[] {
  const reasons = senders.map((sender) => sender.refuses?.(message));
  const taking = senders.filter((_, n) => !reasons[n]);
  if (taking.length === 0) throw new PermanentError('invalid_payload', reasons[0]!);
  return taking;
}

/**
 * What a job wants to be told, to each of its recipients.
 * @param addressee what the job names: its only recipient, or a user or users who have several
 * @param own what the message says beside the words of its notice
 */
export function requestsOf(
  { app, job }: Pick<JobContext<unknown>, 'app' | 'job'>,
  channel: string,
  notice: Notice,
  { addressee, recipients = [addressee], own }: { addressee: string; recipients?: string[]; own?: unknown },
): Request[] {
  const hashes = createHasher(app.config);
  const { message_id = `job:${job.id}`, template_id, variables, title, body, locale } = notice;
  const content = JSON.stringify([channel, addressee, template_id, title, body, locale, variables, own], sortKeys);
  const all = {
    ...notice,
    job_id: job.id,
    attempt: job.attempt,
    message_id,
    channel,
    content: hashes.of(content),
  };
  return recipients.map((recipient) => ({ ...all, recipient: hashes.ofRecipient(recipient) }));
}

/** Postgres orders the keys of jsonb, other databases and languages do not. */
function sortKeys(_: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export const hasGoneOut = ({ status }: Pick<Delivery, 'status'>) =>
  ['sent', 'delivered', 'read', 'bounced'].includes(status);

export const sentAs = (
  { id, provider, provider_message_id }: Pick<Delivery, 'id' | 'provider' | 'provider_message_id'>,
  more: { repeated?: true } = {},
) => ({ delivery_id: id, provider, provider_message_id, ...more });

/** @throws Snooze until the quiet hours are over, unless it is critical */
export function stayQuiet({ config }: App, { priority }: Notice): void {
  const { quietHours } = config.notification;
  const wait = quietHours && priority !== 'critical' ? quietFor(quietHours) : 0;
  if (wait > 0) throw new Snooze(wait, 'it is quiet hours', { bounded: false });
}

export const heldByOther = () => new Snooze(2_000, 'another job sends the same notification');
export const takenByOther = () => new RetryableError('delivery_taken', 'Another execution sends this notification');

/** Whether the message certainly was not sent. */
export const isKnown = (error: unknown) =>
  isOf(error, PermanentError) || isOf(error, RetryableError) || isOf(error, DeploymentError) || isOf(error, Snooze);

/** Whether another provider may send the message in the same attempt. */
export const mayGoOn = (error: unknown): error is RetryableError | DeploymentError =>
  (isOf(error, RetryableError) || isOf(error, DeploymentError)) && error.code !== 'send_unanswered';

/** What becomes of the job. The delivery stays `sending`: the next attempt judges it, or the job fails. */
export function unanswered(error: unknown, { name, find, repeatable }: Sender<never>, app: App): Error {
  if (!find && !repeatable && app.config.notification.ambiguousSend === 'fail')
    return unknownOutcome(name, 'this attempt', error);
  const why = error instanceof UnknownOutcome ? `: ${error.message}` : '';
  return new RetryableError('send_unanswered', `${name} did not say whether it sent the message${why}`, {
    cause: error,
  });
}

export function unknownOutcome(provider: string | null, who: string, cause?: unknown): PermanentError {
  const words = `${who} asked ${provider ?? 'a provider'} to send it, and nobody knows whether it did`;
  return new PermanentError('unknown_outcome', `${words}: look whether it arrived before you retry the job`, { cause });
}

/** Where the provider says when to come back, nobody asks it before. */
export async function pauseAsTold(app: App, errors: unknown[], bucket: { key: string; perSecond: number } | undefined) {
  const waits = errors.flatMap((error) =>
    isOf(error, Snooze) && !(error instanceof SnoozeAlone) ? [error.delayMs] : [],
  );
  if (bucket && waits.length > 0) await pauseBucket(app.db, bucket, Math.max(...waits));
}
