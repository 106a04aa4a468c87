import { randomBytes } from 'node:crypto';
import { loadConfig } from '../../worker/base/config/config.ts';
import type { Db } from '../../worker/base/db/db.ts';
import { putAccount } from '../../worker/jobs/social/account/account.ts';
import type { Connected } from '../../worker/providers/social/auth.ts';
import type { Platform } from '../../worker/providers/social/social.ts';

/** For workers whose accounts are made here. */
export const sealEnv = { SEAL_KEYS: `k1:${randomBytes(32).toString('base64')}` };

/** An account with only what a test cares about. @returns its id */
export const addAccount = (db: Db, platform: Platform, tokens: Partial<Connected> = {}): Promise<number> =>
  putAccount({ db, config: loadConfig(sealEnv) }, platform, {
    external_id: `${platform}-account`,
    access_token: 'access-1',
    refresh_token: 'refresh-1',
    lives: 3_600,
    ...tokens,
  });
