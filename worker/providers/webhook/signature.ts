import { createHmac } from 'node:crypto';

// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

/** `whsec_` may be missing. Undefined: it is not 24 to 64 bytes as base64. */
function keyOf(secret: string): Buffer | undefined {
  const base64 = secret.replace(/^whsec_/, '');
  const key = Buffer.from(base64, 'base64');
  return /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && key.length >= 24 && key.length <= 64 ? key : undefined;
}

export const isSigningSecret = (secret: string): boolean => keyOf(secret) !== undefined;

/** The three headers of a request. @param id has no `.` in it, and is the same for each repeat */
export function signedHeaders(id: string, at: Date, body: string, secrets: string[]): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1_000));
  const signatures = secrets.map(
    (secret) => `v1,${createHmac('sha256', keyOf(secret)!).update(`${id}.${timestamp}.${body}`).digest('base64')}`,
  );
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
