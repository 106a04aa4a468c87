import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { PermanentError, RetryableError, UsageError } from './errors.ts';

/**
 * Where a sealed value is stored. Its row must be known before the value is sealed: take the row's id from its sequence
 * first (`nextval`), or make an id (a uuid), and insert the row with it. A nonce in the row in place of its id would
 * protect nothing: whoever copies the sealed value copies the nonce, too.
 */
export type SealPlace = { table: string; row: string; field: string };

/** What stands in place of a sensitive value that was removed. */
export const removed = 'sealed:removed';

/** A sealed value, for regular expressions here and in Postgres; without `^` and `$`. */
export const sealedPattern = 'sealed:(removed|[A-Za-z0-9_-]{1,40}:[A-Za-z0-9+/]{47,}={0,2})';
const sealed = new RegExp(`^${sealedPattern}$`);

/** Whether a value was sealed, or removed. */
export const isSealed = (value: unknown): value is string => typeof value === 'string' && sealed.test(value);

/** The id of the key of a sealed value. */
export const keyOf = (text: string): string => text.split(':')[1]!;

const placeBytes = 6;
const ivBytes = 12;
const tagBytes = 16;
const ivEnd = placeBytes + ivBytes;
const tagEnd = ivEnd + tagBytes;

/**
 * The keys that seal values for the database, as `SEAL_KEYS` has them: `kid:base64,kid2:base64`, each of 32 bytes. The
 * first one is active: it seals. The others only open what they have sealed.
 *
 * A sealed value is `sealed:<kid>:<base64>`. The bytes are 6 of a hash of the place, an IV of 12, a tag of 16, and the
 * value as JSON under AES-256-GCM. The place is authenticated: a value that is copied to another row or field does not
 * open there. A key is good for four billion values (NIST SP 800-38D, 8.3, for random IVs).
 */
export class Keyring {
  readonly #keys: Map<string, Buffer>;
  /** The id of the key that seals. */
  readonly active: string;

  /** @throws UsageError that says what is wrong, without a key in it */
  constructor(text: string) {
    this.#keys = readKeys(text);
    [this.active] = this.#keys.keys() as MapIterator<string> & [string];
  }

  /** The ids of all keys. */
  get kids(): string[] {
    return [...this.#keys.keys()];
  }

  /** @param value anything that JSON can express */
  seal(value: unknown, place: SealPlace): string {
    const iv = randomBytes(ivBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#keys.get(this.active)!, iv);
    const where = bytesOf(place);
    cipher.setAAD(where);
    const secret = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()]);
    const bytes = Buffer.concat([markOf(where), iv, cipher.getAuthTag(), secret]);
    return `sealed:${this.active}:${bytes.toString('base64')}`;
  }

  /** As the function `open`. */
  open(text: string, place: SealPlace): unknown {
    const key = this.#keys.get(keyOf(text));
    if (!key) throw unknownKey(text, place, `SEAL_KEYS has only ${this.kids.join(', ')}`);
    const bytes = Buffer.from(text.slice(text.lastIndexOf(':') + 1), 'base64');
    const where = bytesOf(place);
    if (!bytes.subarray(0, placeBytes).equals(markOf(where)))
      throw new PermanentError(
        'sealed_elsewhere',
        `${words(place)} has a value that was sealed for another row or field: it does not open here`,
      );
    try {
      const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(placeBytes, ivEnd), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(where);
      decipher.setAuthTag(bytes.subarray(ivEnd, tagEnd));
      const value = Buffer.concat([decipher.update(bytes.subarray(tagEnd)), decipher.final()]);
      return JSON.parse(value.toString('utf8')) as unknown;
    } catch (cause) {
      throw new PermanentError(
        'sealed_damaged',
        `The sealed value of ${words(place)} is damaged, or ${keyOf(text)} was another key when it was sealed`,
        { cause },
      );
    }
  }
}

/**
 * The value in the clear.
 * @throws RetryableError `seal_key_unknown` without its key; PermanentError `sealed_elsewhere` if it was sealed for
 *   another place, `sealed_damaged`, `sensitive_removed`
 */
export function open(text: string, place: SealPlace, keyring: Keyring | undefined): unknown {
  if (text === removed)
    throw new PermanentError(
      'sensitive_removed',
      `The value of ${words(place)} was removed after queues.keep_sensitive: write it into the row again`,
    );
  if (!keyring) throw unknownKey(text, place, 'SEAL_KEYS is not set');
  return keyring.open(text, place);
}

const unknownKey = (text: string, place: SealPlace, why: string) =>
  new RetryableError('seal_key_unknown', `${words(place)} is sealed by key ${keyOf(text)}, and ${why}`);

const words = ({ table, row, field }: SealPlace) => `${field || 'the whole value'} of ${table} ${row}`;
const bytesOf = ({ table, row, field }: SealPlace) => Buffer.from(JSON.stringify([table, row, field]));
const markOf = (where: Buffer) => createHash('sha256').update(where).digest().subarray(0, placeBytes);

/** The parts of `SEAL_KEYS` that are keys. */
export const secretsOfKeys = (text: string): string[] =>
  text.split(',').flatMap((part) => part.slice(part.indexOf(':') + 1).trim() || []);

function readKeys(text: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  const parts = text.split(',').map((part) => part.trim());
  for (const [at, part] of parts.entries()) {
    const [, kid, base64] = /^([A-Za-z0-9_-]{1,40}):([A-Za-z0-9+/]{43}=)$/.exec(part) ?? [];
    if (!kid || !base64)
      throw new UsageError(
        `key ${at + 1} of ${parts.length} must be an id, a colon, and 32 bytes as base64 (openssl rand -base64 32)`,
      );
    if (keys.has(kid)) throw new UsageError(`two keys have the id ${kid}`);
    keys.set(kid, Buffer.from(base64, 'base64'));
  }
  return keys;
}
