import { timingSafeEqual } from 'node:crypto';
import type { Config } from '../../../base/config/config.ts';
import { createHasher, type Hasher } from './hash.ts';

/** Who unsubscribes from what. It has no address: whoever reads a link learns nothing from it. */
export type Unsubscription = { recipient_hash: string; list: string };

const proofs = (hasher: Hasher, { recipient_hash, list }: Unsubscription) =>
  hasher.of(`unsubscribe\n${recipient_hash}\n${list}`);

/**
 * Where the recipient of an email leaves its list. https://www.rfc-editor.org/rfc/rfc8058
 * @returns undefined without PUBLIC_URL
 */
export function unsubscribeUrl(config: Config, address: string, list: string): string | undefined {
  if (!config.publicUrl) return undefined;
  const hasher = createHasher(config);
  const [recipient_hash] = hasher.ofRecipient(address);
  const [proof] = proofs(hasher, { recipient_hash, list });
  const token = [recipient_hash, Buffer.from(list).toString('base64url'), proof].join('.');
  return `${config.publicUrl}/unsubscribe/${token}`;
}

/** @returns undefined for a token that is none of ours */
export function readUnsubscribeToken(config: Config, token: string): Unsubscription | undefined {
  const [recipient_hash = '', encoded = '', proof = '', ...more] = token.split('.');
  const list = Buffer.from(encoded, 'base64url').toString('utf8');
  if (more.length > 0 || !recipient_hash || !list || list.length > 200) return undefined;
  const given = Buffer.from(proof);
  const isOurs = proofs(createHasher(config), { recipient_hash, list })
    .map((each) => Buffer.from(each))
    .some((each) => each.length === given.length && timingSafeEqual(each, given));
  return isOurs ? { recipient_hash, list } : undefined;
}
