/** A message to one phone number, over SMS or WhatsApp. */
export type PhoneMessage = {
  /** As E.164 has it: `+14155550100`. */
  to: string;
  /** Seconds after which nobody needs it. */
  validFor?: number;
} & ({ text: string; content?: never } | { content: Content; text?: never });

/** A template that the provider has and renders. `id`: for Twilio its ContentSid. */
type Content = { id: string; variables: Record<string, string> };
