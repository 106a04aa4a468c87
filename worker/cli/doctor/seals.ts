import type { Config } from '../../base/config/config.ts';
import { createPool } from '../../base/db/db.ts';
import { codeOf, messageOf } from '../../base/errors.ts';
import { createLog } from '../../base/log.ts';
import type { Registry } from '../../queue/registry.ts';
import { countSeals } from '../../queue/fleet/reseal.ts';
import { count } from '../output.ts';
import { fail, ok, warn, type Check } from './check.ts';

const name = 'sealing';
const patienceS = 10;

/** Which keys the database needs, and whether they are in SEAL_KEYS. Reads the payloads of all jobs. */
export async function checkSeals(
  url: string,
  registry: Registry,
  { keyring }: Pick<Config, 'keyring'>,
): Promise<Check> {
  const log = createLog({ logLevel: 'silent', secrets: [] });
  const db = createPool(url, { max: 1, log, setUp: `set statement_timeout = '${patienceS}s'` });
  try {
    return judgeSeals(await countSeals(db, registry), sensitiveNames(registry), keyring);
  } catch (error) {
    const why = codeOf(error) === '57014' ? `they are too many for ${patienceS} s` : messageOf(error);
    const words = `${keysIn(keyring)}; which keys the payloads need could not be read: ${why}`;
    return warn(name, words, 'rowmill reseal reads all of them, and counts');
  } finally {
    await db.end();
  }
}

const sensitiveNames = (registry: Registry) =>
  [...registry].flatMap(([kind, { sensitive = [] }]) => (sensitive.length > 0 ? [kind] : []));

const keysIn = (keyring: Config['keyring']) =>
  keyring ? `SEAL_KEYS has ${keyring.kids.join(', ')}, of which ${keyring.active} seals` : 'SEAL_KEYS is not set';

/** @param kinds those that have sensitive values */
export function judgeSeals(
  { kids, clear }: { kids: Record<string, number>; clear: number },
  kinds: string[],
  keyring: Config['keyring'],
): Check {
  const has = keyring?.kids ?? [];
  const used = Object.entries(kids).map(([kid, rows]) => `${kid} in ${count(rows, 'row')}`);
  const keys = `${keysIn(keyring)}; used: ${used.join(', ') || 'none'}`;
  const missing = Object.keys(kids).filter((kid) => !has.includes(kid));
  if (missing.length > 0)
    return fail(
      name,
      `${keys}; missing: ${missing.join(', ')}`,
      `add ${missing.join(', ')} to SEAL_KEYS, behind the key that seals: their jobs fail with seal_key_unknown`,
    );
  if (!keyring)
    return clear === 0
      ? ok(name, 'SEAL_KEYS is not set; no row has sensitive values')
      : warn(
          name,
          `SEAL_KEYS is not set: ${count(clear, 'row')} with sensitive values in the clear; those of jobs are ` +
            `removed after queues.keep_sensitive when the job has ended (${kinds.join(', ')})`,
          'set SEAL_KEYS to k1:$(openssl rand -base64 32), the same for all workers',
        );
  if (clear > 0)
    return warn(
      name,
      `${keys}; in the clear: ${count(clear, 'row')}`,
      'a worker with SEAL_KEYS seals them within a minute; if none does, run rowmill reseal',
    );
  const old = Object.keys(kids).filter((kid) => kid !== keyring.active);
  if (old.length > 0) return ok(name, `${keys}; to remove ${old.join(', ')} from it, run rowmill reseal first`);
  return ok(name, keys);
}
