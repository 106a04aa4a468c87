import { createHash, timingSafeEqual } from 'node:crypto';
import type { Access } from '../../base/config/ingress.ts';
import { isSigned } from '../../base/signature.ts';
import { Problem } from './problem.ts';

export type { Access };

/** Who sends a request, by its bearer token. @throws Problem 401 */
export function callerOf(authorization: string | undefined, tokens: readonly Access[]): Access {
  const [, token] = /^bearer +(.+)$/i.exec(authorization?.trim() ?? '') ?? [];
  const caller = token === undefined ? undefined : holderOf(token, tokens);
  if (caller) return caller;
  const words = token === undefined ? 'Send the header Authorization: Bearer, with a token' : 'The token is unknown';
  const challenge = `Bearer realm="rowmill"${token === undefined ? '' : ', error="invalid_token"'}`;
  throw new Problem(401, 'unauthorized', words, { headers: { 'www-authenticate': challenge } });
}

/** Who signed a request, by the specification Standard Webhooks. @throws Problem 401 */
export function signerOf(headers: Headers, body: Uint8Array, signers: readonly Access[]): Access {
  const signer = signers.find(({ secret }) => isSigned(headers, body, secret));
  if (signer) return signer;
  throw new Problem(401, 'unauthorized', 'The signature is by no secret that is known, or more than five minutes old', {
    headers: { 'www-authenticate': 'Bearer realm="rowmill"' },
  });
}

/** Takes the same time whatever a wrong token has in common with a right one, and whichever of them is meant. */
export function holderOf(token: string, tokens: readonly Access[]): Access | undefined {
  const given = hashOf(token);
  return tokens.reduce<Access | undefined>(
    (found, each) => (timingSafeEqual(given, hashOfSecret(each)) ? each : found),
    undefined,
  );
}

const hashOf = (text: string) => createHash('sha256').update(text).digest();

const hashes = new WeakMap<Access, Buffer>();

function hashOfSecret(access: Access): Buffer {
  const hash = hashes.get(access) ?? hashOf(access.secret);
  hashes.set(access, hash);
  return hash;
}

/** @param name such as `media.image` */
export const allows = ({ kinds }: Access, name: string): boolean =>
  kinds === undefined ||
  kinds.some((kind) => kind === name || kind === '*' || (kind.endsWith('.*') && name.startsWith(kind.slice(0, -1))));
