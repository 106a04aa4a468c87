import sodium from 'libsodium-wrappers';

/**
 * One-time prekeys that the worker makes for devices. The security of this, plainly: a server that makes a private key
 * has had it. The pair exists in this process's memory until it is sealed to the device's identity key; after that only
 * the device can open it. The database and its backups never contain it in the clear, so a thief of the database learns
 * nothing. But an attacker who controls the running worker could keep the keys that it makes from then on, and with
 * them the forward secrecy that one-time keys add to the first message of a session. That is less than end-to-end
 * encryption promises. The worker also cannot make signed prekeys, which need the private identity key. With
 * PREKEY_MODE=request, devices are asked to make their keys, and the worker makes none.
 */

await sodium.ready;

/** Ids have 24 bits, start at 1, and are not used again. https://signal.org/docs/specifications/x3dh/ */
const lastId = 2 ** 24 - 1;
const publicKeyType = Buffer.from([5]);
/** What matters of a device for its prekeys. */
export type Device = { id: string; identity_key: Buffer | null; next_prekey_id: number };
export type Prekey = { device_id: string; prekey_id: number; public_key: string; sealed_private_key: string };
export type NotMade = 'no_identity_key' | 'bad_identity_key' | 'ids_used_up';

/** @returns the pairs, or the reason why there are none */
export function makePrekeys({ id, identity_key, next_prekey_id }: Device, count: number): Prekey[] | NotMade {
  if (!identity_key) return 'no_identity_key';
  if (next_prekey_id + count - 1 > lastId) return 'ids_used_up';
  const identity = identityOf(identity_key);
  if (!identity) return 'bad_identity_key';
  const prekeys: Prekey[] = [];
  for (let n = 0; n < count; n++) {
    const sealed = makePair(identity);
    if (!sealed) return 'bad_identity_key';
    prekeys.push({ device_id: id, prekey_id: next_prekey_id + n, ...sealed });
  }
  return prekeys;
}

/** Without the type byte that Signal puts in front. */
function identityOf(key: Buffer): Uint8Array | undefined {
  if (key.length === 32) return key;
  return key.length === 33 && key[0] === 5 ? key.subarray(1) : undefined;
}

/**
 * An X25519 pair. Only the identity key opens the private half.
 * https://doc.libsodium.org/public-key_cryptography/sealed_boxes
 */
function makePair(identity: Uint8Array): Pick<Prekey, 'public_key' | 'sealed_private_key'> | undefined {
  const { publicKey, privateKey } = sodium.crypto_box_keypair();
  try {
    const sealed = sodium.crypto_box_seal(privateKey, identity);
    return {
      public_key: Buffer.concat([publicKeyType, publicKey]).toString('base64'),
      sealed_private_key: Buffer.from(sealed).toString('base64'),
    };
  } catch {
    // A point of low order: anybody could open what is sealed to it.
    return undefined;
  } finally {
    sodium.memzero(privateKey);
  }
}
