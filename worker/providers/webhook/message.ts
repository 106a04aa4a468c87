/** A request to an address that somebody else chose. */
export type WebhookMessage = {
  url: string;
  /** Each signs, so that the receiver may have either of two while one replaces the other. `whsec_` and base64. */
  secrets: string[];
  /** JSON, as it is signed and sent. */
  body: string;
};
