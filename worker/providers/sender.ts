import { Snooze } from '../base/errors.ts';

/**
 * What sends a message over one provider: config in, one verb, a receipt out, classified errors. It tries once, logs
 * nothing and knows no database. A new one is a file `<channel>/<name>.ts`, a line in senders.ts, its settings in
 * base/config/, and a row of test/providers/contract.test.ts.
 *
 * Its errors say what became of the message:
 *
 * - RetryableError, DeploymentError: this provider certainly did not send it, and it, or another one, may do so later.
 *   The next provider is tried in the same attempt. A DeploymentError names the channel as its dependency.
 * - PermanentError: it certainly was not sent and never will be. No other provider is tried.
 * - Snooze: not now; the provider says when. Its bucket is paused for the whole fleet. SnoozeAlone: only this message
 *   waits.
 * - UnknownOutcome, and any error that is none of these: nobody knows whether it went out.
 */
export type Sender<Message> = {
  /** As it stands in settings such as EMAIL_PROVIDERS, and in notification_deliveries.provider. */
  name: string;
  /** Where it sends to, for people: `mail.example.com:465`. */
  address: string;
  /** Why it can never send this message, which another provider perhaps can. */
  refuses?(message: Message): string | undefined;
  send(message: Message, options: SendOptions): Promise<Receipt>;
  /**
   * Many messages with one call, 500 at most. It answers for each, in their order: an Error is what `send` would have
   * thrown. What it throws itself holds for all.
   */
  sendMany?(
    messages: { message: Message; key: string }[],
    options: Pick<SendOptions, 'signal'>,
  ): Promise<(Receipt | Error)[]>;
  /**
   * Whether a message of which nobody knows went out: its receipt, or undefined if it certainly did not.
   * @throws RetryableError, Snooze if that cannot be said yet
   */
  find?(message: Message, options: SendOptions & { since: Date }): Promise<Receipt | undefined>;
  /** Sending the same message again under the same key disturbs nobody. */
  repeatable?: true;
  /** The bucket that messages like this one share in the whole fleet. A provider's Retry-After pauses it. */
  rate?(message: Message): { key: string; perSecond: number } | undefined;
  /**
   * Asks the provider whether it lets us in. Sends nothing. Without: there is nobody to ask.
   * @returns what is strange
   * @throws what is wrong
   */
  check?(options: { signal: AbortSignal }): Promise<string | void>;
  close?(): Promise<void> | void;
};

/** `key`: the id of the delivery. The same message always has the same. */
type SendOptions = { key: string; signal: AbortSignal };

/** `provider_message_id`: the name that the provider gave the message, if it did. */
export type Receipt = { provider_message_id?: string };

/** @param to the address: a provider that names the message after it gives it no name */
export const receiptOf = (name: string | undefined, to: string): Receipt =>
  name && !name.includes(to) ? { provider_message_id: name.slice(0, 1_000) } : {};

/** One message has to wait, and others may go on: the bucket is not paused. */
export class SnoozeAlone extends Snooze {}
