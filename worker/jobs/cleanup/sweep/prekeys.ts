import { setImmediate as breathe } from 'node:timers/promises';
import type { Tx } from '../../../base/db/db.ts';
import type { Device as Keyless, NotMade, Prekey } from './key-pairs.ts';
import { inChunks, type CleanupPayload, type End, type Run } from './run.ts';
import { checkTables, inTurn, loadSteps, runStep } from './steps.ts';
import { inSteps, preview } from './sweep.ts';

/** Devices per chunk. Small, because each device may need ten pairs. */
const devicesAtOnce = 25;

/** `after`: the last device that the run before checked. */
export type PrekeyPayload = CleanupPayload & { minimum: number; after: string };

type Device = Keyless & {
  unused: number;
  /** Whether it has been asked already. */
  requested: boolean;
};
type Request = { device_id: string; missing: number; reason: Reason };
type Reason = 'request_mode' | NotMade;

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

/** Deletes used prekeys, then brings each device back to the minimum: by new keys, or by a request for them. */
export async function maintainPrekeys(run: Run<PrekeyPayload>): Promise<End> {
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
  // Devices that were asked are still short of keys. Without `after`, each chunk would find the same devices again.
  return { remaining: run.dryRun ? due.deleted > 0 : !done, cutOff: !done, goOn: { after } };
}

async function refill(run: Run<PrekeyPayload>, steps: PrekeySteps): Promise<{ done: boolean; after: string }> {
  // The WebAssembly of libsodium takes 19 MB.
  const { makePrekeys } = await import('./key-pairs.ts');
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
