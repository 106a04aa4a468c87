import sodium from 'libsodium-wrappers';

/**
 * One-time prekeys that the worker makes for devices. What that costs, plainly: a server that makes a private key has had it. The pair exists in
 * this process's memory for as long as it takes to seal it to the device's identity key, after which only the device can open it; neither the
 * database nor its backups ever hold it in the clear. So who steals the database learns nothing. But whoever controls the worker while it runs could keep
 * the keys that it makes from then on, and with them the forward secrecy that one-time keys add to the first message of a session; that is less than
 * end-to-end encryption promises. Nor can the worker make signed prekeys, for which the private identity key is needed. Who wants
 * the whole promise sets PREKEY_MODE=request: then devices are asked to make their keys, and the worker makes none.
 */

await sodium.ready;

/** Ids are 24 bits wide, from 1, and are not used again. https://signal.org/docs/specifications/x3dh/ */
const lastId = 2 ** 24 - 1;
const publicKeyType = Buffer.from([5]);
/** A device as far as its prekeys are concerned. */
export type Device = { id: string; identity_key: Buffer | null; next_prekey_id: number };
export type Prekey = { device_id: string; prekey_id: number; public_key: string; sealed_private_key: string };
export type NotMade = 'no_identity_key' | 'bad_identity_key' | 'ids_used_up';

/** @returns the pairs, or why there are none */
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

/** An X25519 pair whose private half only the identity key opens. https://doc.libsodium.org/public-key_cryptography/sealed_boxes */
function makePair(identity: Uint8Array): Pick<Prekey, 'public_key' | 'sealed_private_key'> | undefined {
  const { publicKey, privateKey } = sodium.crypto_box_keypair();
  try {
    const sealed = sodium.crypto_box_seal(privateKey, identity);
    return {
      public_key: Buffer.concat([publicKeyType, publicKey]).toString('base64'),
      sealed_private_key: Buffer.from(sealed).toString('base64'),
    };
  } catch {
    // A point of low order: what is sealed to it anybody could open.
    return undefined;
  } finally {
    sodium.memzero(privateKey);
  }
}
