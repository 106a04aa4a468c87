import { z } from 'zod';
import { group } from './group.ts';
import { flag, integer, list, secret, text, url } from './values.ts';

const version = text.regex(/^v\d{1,3}\.\d$/, 'must be a version such as v25.0');
const redirect = url.optional();

/** The four platforms on which posts are published, each with the app of yours that asks it. */
export const social = group({
  settings: {
    TIKTOK_CLIENT_KEY: text.optional(),
    TIKTOK_CLIENT_SECRET: secret,
    TIKTOK_REDIRECT_URI: redirect,
    TIKTOK_API_URL: url.default('https://open.tiktokapis.com'),
    YOUTUBE_CLIENT_ID: text.optional(),
    YOUTUBE_CLIENT_SECRET: secret,
    YOUTUBE_REDIRECT_URI: redirect,
    YOUTUBE_API_URL: url.default('https://www.googleapis.com'),
    YOUTUBE_OAUTH_URL: url.default('https://oauth2.googleapis.com/token'),
    YOUTUBE_DAILY_UPLOADS: integer(1, 1_000_000).default(100),
    INSTAGRAM_APP_ID: text.optional(),
    INSTAGRAM_APP_SECRET: secret,
    INSTAGRAM_REDIRECT_URI: redirect,
    INSTAGRAM_API_URL: url.default('https://graph.instagram.com'),
    INSTAGRAM_OAUTH_URL: url.default('https://api.instagram.com/oauth/access_token'),
    INSTAGRAM_API_VERSION: version.default('v25.0'),
    FACEBOOK_APP_ID: text.optional(),
    FACEBOOK_APP_SECRET: secret,
    FACEBOOK_REDIRECT_URI: redirect,
    FACEBOOK_API_URL: url.default('https://graph.facebook.com'),
    FACEBOOK_VIDEO_URL: url.default('https://graph-video.facebook.com'),
    FACEBOOK_API_VERSION: version.default('v25.0'),
    SOCIAL_TIMEOUT: integer(100, 600_000).default(30_000),
    SOCIAL_UPLOAD_TIMEOUT: integer(1_000, 86_400_000).default(1_800_000),
    SOCIAL_POLL: integer(1_000, 3_600_000).default(30_000),
    SOCIAL_GIVE_UP: integer(1, 10_080).default(1_440),
    SOCIAL_USAGE_PAUSE: z.coerce.number({ error: 'must be a number' }).min(1).max(100).default(90),
    SOCIAL_ALLOW: list.optional(),
    SOCIAL_ALLOW_HTTP: flag.optional(),
    SOCIAL_TELL: text.optional(),
  },
  together: {
    TikTok: ['TIKTOK_CLIENT_KEY', 'TIKTOK_CLIENT_SECRET'],
    YouTube: ['YOUTUBE_CLIENT_ID', 'YOUTUBE_CLIENT_SECRET'],
    Instagram: ['INSTAGRAM_APP_ID', 'INSTAGRAM_APP_SECRET'],
    Facebook: ['FACEBOOK_APP_ID', 'FACEBOOK_APP_SECRET'],
  },
  read: (env) => ({
    social: {
      tiktok: {
        ...appOf(env.TIKTOK_CLIENT_KEY, env.TIKTOK_CLIENT_SECRET, env.TIKTOK_REDIRECT_URI),
        url: env.TIKTOK_API_URL,
      },
      youtube: {
        ...appOf(env.YOUTUBE_CLIENT_ID, env.YOUTUBE_CLIENT_SECRET, env.YOUTUBE_REDIRECT_URI),
        url: env.YOUTUBE_API_URL,
        tokenUrl: env.YOUTUBE_OAUTH_URL,
        dailyUploads: env.YOUTUBE_DAILY_UPLOADS,
      },
      instagram: {
        ...appOf(env.INSTAGRAM_APP_ID, env.INSTAGRAM_APP_SECRET, env.INSTAGRAM_REDIRECT_URI),
        /** graph.instagram.com of Instagram Login, or graph.facebook.com of Facebook Login. */
        url: env.INSTAGRAM_API_URL,
        tokenUrl: env.INSTAGRAM_OAUTH_URL,
        version: env.INSTAGRAM_API_VERSION,
      },
      facebook: {
        ...appOf(env.FACEBOOK_APP_ID, env.FACEBOOK_APP_SECRET, env.FACEBOOK_REDIRECT_URI),
        url: env.FACEBOOK_API_URL,
        videoUrl: env.FACEBOOK_VIDEO_URL,
        version: env.FACEBOOK_API_VERSION,
      },
      timeoutMs: env.SOCIAL_TIMEOUT,
      uploadTimeoutMs: env.SOCIAL_UPLOAD_TIMEOUT,
      pollMs: env.SOCIAL_POLL,
      giveUpMs: env.SOCIAL_GIVE_UP * 60_000,
      /** Percent of a limit of Meta's above which its posts wait. */
      usagePause: env.SOCIAL_USAGE_PAUSE,
      /** Networks that a file may be fetched from although they are not public. */
      allow: env.SOCIAL_ALLOW ?? [],
      allowHttp: env.SOCIAL_ALLOW_HTTP ?? false,
      /** Who is told of an account that must be connected again: an address, or a channel of Slack. */
      tell: env.SOCIAL_TELL,
    },
  }),
});

type SocialApp = { id: string; secret: string };

/** An app is needed to connect accounts, and to renew their tokens. */
const appOf = (id: string | undefined, secretOfApp: string | undefined, redirectUri: string | undefined) => ({
  app: id && secretOfApp ? ({ id, secret: secretOfApp } satisfies SocialApp) : undefined,
  redirectUri,
});
