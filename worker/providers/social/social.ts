import type { Config } from '../../base/config/config.ts';
import type { Auth } from './auth.ts';
import { createFacebookAuth } from './facebook/auth.ts';
import { createInstagramAuth } from './instagram/auth.ts';
import { createTikTokAuth } from './tiktok/auth.ts';
import { createYouTubeAuth } from './youtube/auth.ts';

export const platforms = ['tiktok', 'youtube', 'instagram', 'facebook'] as const;
export type Platform = (typeof platforms)[number];

/** What asks each platform. */
export type Social = { [Name in Platform]: { auth: Auth } };

export const createSocial = (config: Pick<Config, 'social'>): Social => ({
  tiktok: { auth: createTikTokAuth(config) },
  youtube: { auth: createYouTubeAuth(config) },
  instagram: { auth: createInstagramAuth(config) },
  facebook: { auth: createFacebookAuth(config) },
});
