import { createPublicKey } from 'node:crypto';
import { group } from './group.ts';
import { text, url } from './values.ts';

/** Where providers report what became of a message, and how they prove that it is them. */
export const callbacks = group({
  settings: {
    PUBLIC_URL: url.optional(),
    SENDGRID_WEBHOOK_KEY: text
      .refine(isPublicKey, 'must be the verification key that SendGrid shows: an ECDSA key in base64')
      .optional(),
  },
  read: (env) => ({
    /** Where the outside world reaches the HTTP server. */
    publicUrl: env.PUBLIC_URL,
    /** A public key, as base64 of its DER. */
    sendgridWebhookKey: env.SENDGRID_WEBHOOK_KEY,
  }),
});

function isPublicKey(value: string): boolean {
  try {
    const key = createPublicKey({ key: Buffer.from(value, 'base64'), format: 'der', type: 'spki' });
    return key.asymmetricKeyType === 'ec' || key.asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}
