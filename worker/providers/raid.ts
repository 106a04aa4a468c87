import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Config } from '../base/config/config.ts';
import { codeOf, DeploymentError } from '../base/errors.ts';
import { download, type Downloaded } from '../base/http/fetch.ts';
import { withTempDir } from '../base/temp.ts';
import type { Provider } from './provider.ts';

/** RAID, the store that keeps the original of each uploaded file. */
export type Raid = Provider & {
  /**
   * Downloads the original under `key` into a new private file at `path`.
   * @throws DeploymentError `raid_not_configured`; what `download` in base/http/fetch.ts throws, with codes that start
   *   with `raid_`
   */
  download(key: string, path: string, options: { signal: AbortSignal }): Promise<Downloaded>;
};

const service = {
  dependency: 'raid',
  code: 'raid',
  name: 'RAID',
  settings: {
    address: 'RAID_PUB_ENDPOINT',
    secret: 'RAID_PUBLISHER_SECRET',
    limit: 'RAID_MAX_MB',
    timeout: 'RAID_TIMEOUT',
  },
};

export function createRaid({ raid: config, tempDir }: Pick<Config, 'raid' | 'tempDir'>): Raid {
  const fetchFile: Raid['download'] = async (key, path, { signal }) => {
    if (!config) throw notConfigured();
    const { endpoint, secret, maxBytes, timeoutMs } = config;
    const headers = { authorization: `Bearer ${secret}` };
    return download(addressOf(endpoint, key), { service, to: path, headers, maxBytes, timeoutMs, signal });
  };
  return {
    service,
    address: config?.endpoint,
    download: fetchFile,
    /** Requests a file that certainly does not exist: RAID answers 404 only if it accepts the secret. */
    async check(options) {
      try {
        const key = `rowmill-doctor/${randomUUID()}`;
        await withTempDir(tempDir, (dir) => fetchFile(key, join(dir, 'none'), options));
        return 'it has a file under a key that was just made up';
      } catch (error) {
        if (codeOf(error) !== 'raid_not_found') throw error;
      }
    },
  };
}

/**
 * The endpoint with `key` added to its query. A space becomes %20, not +, which some servers do not read as a space.
 */
function addressOf(endpoint: string, key: string): URL {
  const url = new URL(endpoint);
  url.search = `${url.search ? `${url.search}&` : '?'}key=${encodeURIComponent(key)}`;
  return url;
}

function notConfigured(): DeploymentError {
  const { address, secret } = service.settings;
  return new DeploymentError(
    service.dependency,
    'raid_not_configured',
    `There is nowhere to fetch originals from: set ${address} and ${secret}`,
  );
}
