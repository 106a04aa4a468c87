import type { Config } from '../../base/config/config.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { createStorage } from '../../base/storage/create.ts';
import { createImagorVideo } from '../../providers/imagorvideo.ts';
import { createRaid } from '../../providers/raid.ts';
import { fail, ok, warn, type Check } from './check.ts';
import { existing } from './host.ts';

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

/** Requests a file that certainly does not exist: RAID answers 404 only if it accepts the secret. */
export async function checkRaid({ raid, tempDir }: Pick<Config, 'raid' | 'tempDir'>): Promise<Check> {
  const name = 'RAID';
  if (!raid)
    return warn(name, 'not configured: publish jobs will wait', 'set RAID_PUB_ENDPOINT and RAID_PUBLISHER_SECRET');
  try {
    const signal = AbortSignal.timeout(patienceMs);
    if (await createRaid(raid).check(await existing(tempDir), { signal }))
      return warn(name, `${raid.endpoint} has a file under a key that was just made up`, 'check RAID_PUB_ENDPOINT');
    return ok(name, `${raid.endpoint} answers, and takes the secret`);
  } catch (error) {
    switch (codeOf(error) ?? '') {
      case 'raid_unauthorized':
        return fail(name, reason(error), 'set RAID_PUBLISHER_SECRET to the one that RAID takes');
      default:
        return fail(name, reason(error), 'check RAID_PUB_ENDPOINT, and that RAID is up and can be reached from here');
    }
  }
}

/** Requests a frame of a video that certainly does not exist. */
export async function checkImagorVideo({ tempDir }: Pick<Config, 'tempDir'>, url: string): Promise<Check> {
  const name = 'imagorvideo';
  try {
    await createImagorVideo(url).check(await existing(tempDir), { signal: AbortSignal.timeout(patienceMs) });
    return ok(name, `${url} answers, and takes requests without a signature`);
  } catch (error) {
    return fail(name, reason(error), 'check IMAGORVIDEO_URL, and that it is up and runs with -imagor-unsafe');
  }
}

function reason(error: unknown): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') return `no answer within ${patienceMs / 1_000} s`;
  const code = codeOf(error);
  return code ? `${messageOf(error)} (${code})` : messageOf(error);
}
