import type { Config } from '../base/config.ts';
import { PermanentError } from '../base/errors.ts';
import { download, type Downloaded } from '../base/fetch.ts';

/** RAID, the store that keeps the original of each uploaded file. */
export type Raid = {
  /**
   * Fetches the original under `key` into a new private file at `path`.
   * @throws PermanentError `raid_not_configured`; what `download` in base/fetch.ts throws, with codes that start with `raid_`
   */
  download(key: string, path: string, options: { signal: AbortSignal }): Promise<Downloaded>;
};

const service = {
  code: 'raid',
  name: 'RAID',
  settings: {
    address: 'RAID_PUB_ENDPOINT',
    secret: 'RAID_PUBLISHER_SECRET',
    limit: 'RAID_MAX_MB',
    timeout: 'RAID_TIMEOUT',
  },
};

export function createRaid(config: Config['raid']): Raid {
  return {
    async download(key, path, { signal }) {
      if (!config) throw notConfigured();
      const { endpoint, secret, maxBytes, timeoutMs } = config;
      const headers = { authorization: `Bearer ${secret}` };
      return download(addressOf(endpoint, key), { service, to: path, headers, maxBytes, timeoutMs, signal });
    },
  };
}

/** The endpoint with `key` added to whatever query it has. %20 and not +, which not every server reads as a space. */
function addressOf(endpoint: string, key: string): URL {
  const url = new URL(endpoint);
  url.search = `${url.search ? `${url.search}&` : '?'}key=${encodeURIComponent(key)}`;
  return url;
}

function notConfigured(): PermanentError {
  const { address, secret } = service.settings;
  return new PermanentError(
    'raid_not_configured',
    `there is nowhere to fetch originals from: set ${address} and ${secret}`,
  );
}
