import { group } from './group.ts';
import { integer, secret, url } from './values.ts';

/** RAID, where the originals of auction files are downloaded from. */
export const raid = group({
  settings: {
    RAID_PUB_ENDPOINT: url.optional(),
    RAID_PUBLISHER_SECRET: secret,
    RAID_TIMEOUT: integer(100, 3_600_000).default(60_000),
    RAID_MAX_MB: integer(1, 100_000).default(100),
  },
  together: { RAID: ['RAID_PUB_ENDPOINT', 'RAID_PUBLISHER_SECRET'] },
  read: (env) => ({
    raid:
      env.RAID_PUB_ENDPOINT && env.RAID_PUBLISHER_SECRET
        ? {
            endpoint: env.RAID_PUB_ENDPOINT,
            secret: env.RAID_PUBLISHER_SECRET,
            timeoutMs: env.RAID_TIMEOUT,
            maxBytes: env.RAID_MAX_MB * 1_000_000,
          }
        : undefined,
  }),
});
