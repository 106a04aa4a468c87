import { setImmediate as breathe } from 'node:timers/promises';
import sodium from 'libsodium-wrappers';
import type { Tx } from '../../../base/db/db.ts';
import { inChunks, type CleanupPayload, type End, type Run } from './run.ts';
import { checkTables, inTurn, loadSteps, runStep } from './steps.ts';
import { inSteps, preview } from './sweep.ts';

/**
 * One-time prekeys that the worker makes for devices. What that costs, plainly: a server that makes a private key has had it. The pair exists in
 * this process's memory for as long as it takes to seal it to the device's identity key, after which only the device can open it; neither the
 * database nor its backups ever hold it in the clear. So who steals the database learns nothing. But whoever controls the worker while it runs could keep
 * the keys that it makes from then on, and with them the forward secrecy that one-time keys add to the first message of a session; that is less than
 * end-to-end encryption promises. Nor can the worker make signed prekeys, for which the private identity key is needed. Who wants
 * the whole promise sets PREKEY_MODE=request: then devices are asked to make their keys, and the worker makes none.
 */

/** Ids are 24 bits wide, from 1, and are not used again. https://signal.org/docs/specifications/x3dh/ */
const lastId = 2 ** 24 - 1;
const publicKeyType = Buffer.from([5]);
/** A chunk of these at a time, since each device may need ten pairs. */
const devicesAtOnce = 25;

/** `after`: the last device that was looked at by the run that this one continues. */
export type PrekeyPayload = CleanupPayload & { minimum: number; after: string };

type Device = {
  id: string;
  identity_key: Buffer | null;
  next_prekey_id: number;
  unused: number;
  /** Whether it has been asked already. */
  requested: boolean;
};
type Prekey = { device_id: string; prekey_id: number; public_key: string; sealed_private_key: string };
type Request = { device_id: string; missing: number; reason: Reason };
type Reason = 'request_mode' | 'no_identity_key' | 'bad_identity_key' | 'ids_used_up';

const loadPrekeySteps = (kind: string) =>
  loadSteps(kind, [
    'preview',
    'purge',
    'purge_requests',
    'low_devices',
    'add_prekeys',
    'request_prekeys',
    'close_requests',
  ]);
type PrekeySteps = ReturnType<typeof loadPrekeySteps>;

/** Deletes used prekeys, then brings each device back to the minimum, by its keys or by a request for them. */
export async function maintainPrekeys(run: Run<PrekeyPayload>): Promise<End> {
  await sodium.ready;
  const steps = loadPrekeySteps(run.kind);
  await checkTables(run.app.db, steps);
  const due = await preview(run, steps.preview);
  if (run.dryRun) await run.count(run.app.db, due);
  const deleted =
    run.dryRun ||
    ((await inSteps(run, steps.purge, due.deleted)) && (await inSteps(run, steps.purge_requests, due.deleted)));
  const { done: refilled, after } = await refill(run, steps);
  if (!run.dryRun) {
    const close = async (tx: Tx) => void (await runStep(tx, steps.close_requests, run.payload));
    await inChunks(run, async (tx) => (await close(tx), false));
  }
  const done = deleted && refilled;
  // Devices that were asked are still short of keys: from the first one on it would never come to the last.
  return { remaining: run.dryRun ? due.deleted > 0 : !done, cutOff: !done, goOn: { after } };
}

async function refill(run: Run<PrekeyPayload>, steps: PrekeySteps): Promise<{ done: boolean; after: string }> {
  const { minimum } = run.payload;
  let { after } = run.payload;
  const done = await inChunks(
    run,
    async (tx) => {
      const devices = await runStep<Device>(tx, steps.low_devices, { after, minimum, chunk: devicesAtOnce });
      const prekeys: Prekey[] = [];
      const requests: Request[] = [];
      for (const device of devices) {
        await breathe();
        const missing = minimum - device.unused;
        const made = run.app.config.prekeyMode === 'request' ? 'request_mode' : makePrekeys(device, missing);
        if (typeof made === 'string') requests.push({ device_id: device.id, missing, reason: made });
        else prekeys.push(...made);
      }
      if (!run.dryRun) {
        if (prekeys.length > 0) await runStep(tx, steps.add_prekeys, { prekeys: JSON.stringify(prekeys) });
        if (requests.length > 0) await runStep(tx, steps.request_prekeys, { devices: JSON.stringify(requests) });
      }
      const requested = devices.filter(
        (device) => !device.requested && requests.some(({ device_id }) => device_id === device.id),
      );
      await run.count(tx, { generated: prekeys.length, requested: requested.length });
      after = devices.at(-1)?.id ?? after;
      return devices.length === devicesAtOnce;
    },
    inTurn(run.kind),
  );
  return { done, after };
}

/** @returns the pairs, or why there are none */
function makePrekeys({ id, identity_key, next_prekey_id }: Device, count: number): Prekey[] | Reason {
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
