import { createHmac } from 'node:crypto';
import type { Config } from '../../../base/config/config.ts';
import { DeploymentError } from '../../../base/errors.ts';

/**
 * Hashes of a text that nobody without HASH_KEY can find by trying, as they could with a phone number or a login code:
 * the first is of the key in use, the others are of keys that were in use before.
 */
export type Hashes = [string, ...string[]];

/** Without HASH_KEY. Production refuses that: the key would be known. */
const keyOfDevelopment = 'rowmill-development';

export type Hasher = {
  of(text: string): Hashes;
  /** Of an address: capital and small letters are the same. */
  ofRecipient(address: string): Hashes;
};

/** @throws DeploymentError `hash_key_missing` */
export function createHasher({ production, notification: { hashKeys } }: Config): Hasher {
  if (production && hashKeys.length === 0)
    throw new DeploymentError(
      'hash_key',
      'hash_key_missing',
      'HASH_KEY is not set: set it to what openssl rand -base64 32 prints, the same for all workers',
    );
  const [first = keyOfDevelopment, ...before] = hashKeys;
  const hashOf = (key: string, text: string) => createHmac('sha256', key).update(text).digest('base64url');
  const of = (text: string): Hashes => [hashOf(first, text), ...before.map((key) => hashOf(key, text))];
  return { of, ofRecipient: (address) => of(address.toLowerCase()) };
}
