import type { Config } from '../../base/config/config.ts';
import type { Adapter } from './adapter.ts';
import type { Auth } from './auth.ts';
import type { Metrics } from './metrics.ts';
import { createFacebookAuth } from './facebook/auth.ts';
import { createFacebook } from './facebook/facebook.ts';
import { createFacebookMetrics } from './facebook/metrics.ts';
import { createInstagramAuth } from './instagram/auth.ts';
import { createInstagram } from './instagram/instagram.ts';
import { createInstagramMetrics } from './instagram/metrics.ts';
import { createTikTokAuth } from './tiktok/auth.ts';
import { createTikTok } from './tiktok/tiktok.ts';
import { createTikTokMetrics } from './tiktok/metrics.ts';
import { createYouTubeAuth } from './youtube/auth.ts';
import { createYouTube } from './youtube/youtube.ts';
import { createYouTubeMetrics } from './youtube/metrics.ts';

export const platforms = ['tiktok', 'youtube', 'instagram', 'facebook'] as const;
export type Platform = (typeof platforms)[number];

/** What asks each platform: for posts, for figures, and for the tokens of accounts. */
export type Social = { [Name in Platform]: { auth: Auth; adapter: Adapter; metrics: Metrics } };

export const createSocial = (config: Pick<Config, 'social'>): Social => ({
  tiktok: {
    auth: createTikTokAuth(config),
    adapter: createTikTok(config),
    metrics: createTikTokMetrics(config),
  },
  youtube: {
    auth: createYouTubeAuth(config),
    adapter: createYouTube(config),
    metrics: createYouTubeMetrics(config),
  },
  instagram: {
    auth: createInstagramAuth(config),
    adapter: createInstagram(config),
    metrics: createInstagramMetrics(config),
  },
  facebook: {
    auth: createFacebookAuth(config),
    adapter: createFacebook(config),
    metrics: createFacebookMetrics(config),
  },
});
