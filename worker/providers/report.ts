/** What a provider reports of a message after it was sent, in one form for all. */
export type Report = {
  /** The same whenever the provider repeats it. */
  event_id: string;
  /** The provider's word for it. */
  event: string;
  /** What a person may read: codes and reasons. Never an address, nor words that may have one. */
  detail: Record<string, string | number>;
  /** Which message, by our id or by its own. */
  delivery_id?: string | undefined;
  provider_message_id?: string | undefined;
  occurred_at?: Date | undefined;
  /** What became of the message; undefined: this says nothing new. */
  status?: 'sent' | 'delivered' | 'read' | 'failed' | 'bounced' | undefined;
  error_code?: string | undefined;
  /** Who must not be written to any more, or may be again: on this channel, of this list or of all. */
  recipient?: { channel: 'email' | 'sms' | 'whatsapp'; address: string; list?: string } & (
    | { suppress: SuppressionReason }
    | { restore: true }
  );
};

type SuppressionReason = 'opted out' | 'hard bounce' | 'complaint' | 'unsubscribed';

/** A request to one of our callback addresses. */
type CallbackRequest = {
  headers: Headers;
  /** The bytes as they came. */
  body: Buffer;
  /** `?delivery=...` as it came, or nothing. */
  search: string;
};

/** `POST /callbacks/<name>`. */
export type CallbackReader = {
  /** The provider: as in notification_deliveries.provider. */
  name: string;
  maxBytes: number;
  /** What to answer, if the provider wants to read something. */
  answer?: { type: string; body: string };
  /** @returns undefined if the provider has not signed it, or signed it long ago */
  read(request: CallbackRequest): Promise<Report[] | undefined>;
};

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The id of a delivery, if it is one. */
export const deliveryIdIn = (value: unknown): string | undefined =>
  typeof value === 'string' && uuid.test(value) ? value : undefined;
