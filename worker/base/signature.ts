import { createHmac, timingSafeEqual } from 'node:crypto';

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
  const signatures = secrets.map((secret) => `v1,${mac(secret, `${id}.${timestamp}.`, body).toString('base64')}`);
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}

const toleranceMs = 5 * 60_000;

/** Whether a request was signed with this secret, at most five minutes ago. */
export function isSigned(headers: Headers, body: Uint8Array, secret: string): boolean {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map(
    (name) => headers.get(`webhook-${name}`) ?? '',
  );
  if (!id || !/^\d{1,12}$/.test(timestamp!)) return false;
  if (Math.abs(Date.now() - Number(timestamp) * 1_000) > toleranceMs) return false;
  const expected = mac(secret, `${id}.${timestamp}.`, body);
  return signatures!.split(' ').some((each) => {
    const given = Buffer.from(each.startsWith('v1,') ? each.slice(3) : '', 'base64');
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

const mac = (secret: string, head: string, body: string | Uint8Array) =>
  createHmac('sha256', keyOf(secret)!).update(head).update(body).digest();
