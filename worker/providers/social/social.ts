import type { Config } from '../../base/config/config.ts';
import type { Auth } from './auth.ts';
import type { Metrics } from './metrics.ts';
import { createFacebookAuth } from './facebook/auth.ts';
import { createFacebookMetrics } from './facebook/metrics.ts';
import { createInstagramAuth } from './instagram/auth.ts';
import { createInstagramMetrics } from './instagram/metrics.ts';
import { createTikTokAuth } from './tiktok/auth.ts';
import { createTikTokMetrics } from './tiktok/metrics.ts';
import { createYouTubeAuth } from './youtube/auth.ts';
import { createYouTubeMetrics } from './youtube/metrics.ts';

export const platforms = ['tiktok', 'youtube', 'instagram', 'facebook'] as const;
export type Platform = (typeof platforms)[number];

/** What asks each platform. */
export type Social = { [Name in Platform]: { auth: Auth; metrics: Metrics } };

export const createSocial = (config: Pick<Config, 'social'>): Social => ({
  tiktok: { auth: createTikTokAuth(config), metrics: createTikTokMetrics(config) },
  youtube: { auth: createYouTubeAuth(config), metrics: createYouTubeMetrics(config) },
  instagram: { auth: createInstagramAuth(config), metrics: createInstagramMetrics(config) },
  facebook: { auth: createFacebookAuth(config), metrics: createFacebookMetrics(config) },
});
