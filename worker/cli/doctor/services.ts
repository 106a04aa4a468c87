import type { Config } from '../../base/config/config.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { createStorage } from '../../base/storage/create.ts';
import type { Provider } from '../../providers/provider.ts';
import type { Sender } from '../../providers/sender.ts';
import { fail, ok, warn, type Check } from './check.ts';

const patienceMs = 20_000;

/** Writes, reads and deletes a small object. */
export async function checkStorage({ storage, production }: Pick<Config, 'storage' | 'production'>): Promise<Check> {
  const name = 'storage';
  const local = storage.provider === 'local';
  const place = local
    ? `the folder ${storage.dir}`
    : `bucket ${storage.bucket} at ${storage.endpoint ?? `AWS, ${storage.region}`}`;
  try {
    await createStorage(storage).check({ signal: AbortSignal.timeout(patienceMs) });
  } catch (error) {
    const fix = local
      ? 'let this user write to DATA_DIR'
      : 'check the bucket, the endpoint, and that the key may write, read and delete';
    return fail(name, `${place}: ${reason(error)}`, fix);
  }
  const detail = `${place}: written, read and deleted an object`;
  if (local && production)
    return warn(name, `${detail}, but it is this machine's only`, 'set up B2_*, MINIO_* or STORAGE_BUCKET');
  return ok(name, detail);
}

/** @param provider asked for something harmless, which shows whether it lets us in */
export async function checkProvider({ service, address, check }: Provider): Promise<Check> {
  const { name, code, settings } = service;
  if (!address)
    return warn(name, 'not configured: jobs that need it will wait', `set ${settings.address} and ${settings.secret}`);
  try {
    const strange = await check({ signal: AbortSignal.timeout(patienceMs) });
    if (strange) return warn(name, `${address}: ${strange}`, `check ${settings.address}`);
    return ok(name, `${address} answers, and lets us in`);
  } catch (error) {
    if (codeOf(error) === `${code}_unauthorized`) return fail(name, reason(error), `check ${settings.secret}`);
    return fail(name, reason(error), `check ${settings.address}, and that ${name} is up and can be reached from here`);
  }
}

/** @param sender asked whether it lets us in; nothing is sent */
export async function checkSender(channel: string, sender: Pick<Sender<never>, 'name' | 'address' | 'check'>) {
  const name = `${channel}: ${sender.name}`;
  try {
    const strange = await sender.check?.({ signal: AbortSignal.timeout(patienceMs) });
    if (strange) return warn(name, `${sender.address}: ${strange}`, 'see .env.example');
    return ok(name, `${sender.address} answers, and lets us in; nothing was sent`);
  } catch (error) {
    return fail(name, `${sender.address}: ${reason(error)}`, 'correct the settings that it names');
  }
}

export function checkHashKey({ production, notification: { hashKeys } }: Pick<Config, 'production' | 'notification'>) {
  const name = 'HASH_KEY';
  if (hashKeys.length > 0) return ok(name, hashKeys.length > 1 ? 'set, with keys of before' : 'set');
  const fix = 'set it to what openssl rand -base64 32 prints, the same for all workers';
  return warn(name, production ? 'is not set: notifications will wait' : 'is not set; production needs it', fix);
}

function reason(error: unknown): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') return `no answer within ${patienceMs / 1_000} s`;
  const code = codeOf(error);
  return code ? `${messageOf(error)} (${code})` : messageOf(error);
}
