import type { Platform } from '../../worker/providers/social/social.ts';
import { metaError } from './meta.ts';
import type { Answer } from './platform.ts';
import { tiktokError } from './tiktok.ts';
import { youtubeError } from './youtube.ts';

// The errors that the platforms document, and what each must mean: the code of an error; whose limit it is, and for how
// many milliseconds; or TokenRefused, ReconnectNeeded, StartOver.

const day = 86_400_000;
const meta = (status: number, code: number, error_subcode?: number): Answer =>
  metaError(status, code, error_subcode === undefined ? {} : { error_subcode });

type Row = [answer: Answer, expected: string];

/** https://developers.tiktok.com/doc/tiktok-api-v2-error-handling and the pages of the Content Posting API. */
const tiktok: Row[] = [
  [tiktokError('access_token_invalid', 401), 'TokenRefused'],
  [tiktokError('scope_not_authorized', 401), 'ReconnectNeeded'],
  [tiktokError('scope_permission_missed', 401), 'ReconnectNeeded'],
  [tiktokError('rate_limit_exceeded', 429), 'account 60000'],
  [tiktokError('spam_risk_too_many_posts', 403), `account ${day}`],
  [tiktokError('spam_risk_too_many_pending_share', 403), `account ${day}`],
  [tiktokError('reached_active_user_cap', 403), `app ${day}`],
  [tiktokError('spam_risk', 403), 'social_restricted'],
  [tiktokError('spam_risk_text', 403), 'social_restricted'],
  [tiktokError('spam_risk_user_banned_from_posting', 403), 'social_restricted'],
  [tiktokError('privacy_level_option_mismatch', 403), 'social_privacy_refused'],
  [tiktokError('unaudited_client_can_only_post_to_private_accounts', 403), 'social_privacy_refused'],
  [tiktokError('url_ownership_unverified', 403), 'social_media_not_public'],
  [tiktokError('invalid_params', 400), 'social_refused'],
  [tiktokError('invalid_param', 400), 'social_refused'],
  [tiktokError('app_version_check_failed', 400), 'social_refused'],
  [tiktokError('internal_error', 500), 'social_unavailable'],
];

/** https://developers.google.com/youtube/v3/docs/errors */
const youtube: Row[] = [
  [youtubeError(401, 'authError'), 'TokenRefused'],
  [youtubeError(403, 'insufficientPermissions'), 'ReconnectNeeded'],
  [youtubeError(403, 'quotaExceeded'), 'app {"nextDayIn":"America/Los_Angeles"}'],
  [youtubeError(403, 'dailyLimitExceeded'), 'app {"nextDayIn":"America/Los_Angeles"}'],
  [youtubeError(400, 'uploadLimitExceeded'), `account ${day}`],
  [youtubeError(403, 'rateLimitExceeded'), 'account 60000'],
  [youtubeError(403, 'userRateLimitExceeded'), 'account 60000'],
  [youtubeError(429, 'tooManyRequests'), 'account 60000'],
  [youtubeError(401, 'youtubeSignupRequired'), 'social_restricted'],
  [youtubeError(403, 'accountSuspended'), 'social_restricted'],
  [youtubeError(403, 'forbiddenPrivacySetting'), 'social_privacy_refused'],
  [youtubeError(400, 'invalidPublishAt'), 'social_privacy_refused'],
  [youtubeError(400, 'invalidTitle'), 'social_refused'],
  [youtubeError(400, 'invalidDescription'), 'social_refused'],
  [youtubeError(400, 'invalidTags'), 'social_refused'],
  [youtubeError(400, 'invalidCategoryId'), 'social_refused'],
  [youtubeError(400, 'failedPrecondition'), 'social_refused'],
  [youtubeError(500, 'internalError'), 'social_unavailable'],
  [youtubeError(503, 'backendError'), 'social_unavailable'],
];

/** https://developers.facebook.com/docs/graph-api/guides/error-handling */
const graph: Row[] = [
  [meta(400, 190), 'TokenRefused'],
  [meta(403, 200), 'ReconnectNeeded'],
  [meta(403, 299), 'ReconnectNeeded'],
  [meta(403, 10), 'ReconnectNeeded'],
  [meta(400, 4), 'app 300000'],
  [meta(400, 17), 'account 300000'],
  [meta(403, 32), 'account 300000'],
  [meta(400, 613), 'account 300000'],
  [meta(400, 80_000), 'account 300000'],
  [meta(400, 80_001), 'account 300000'],
  [meta(400, 80_002), 'account 300000'],
  [meta(403, 80_014), 'account 300000'],
  [meta(400, 1_390_008), 'account 3600000'],
  [meta(400, 368), 'social_restricted'],
  [meta(400, 506), 'social_refused'],
  [meta(400, 100), 'social_refused'],
  [meta(500, 1), 'social_unavailable'],
  [meta(500, 2), 'social_unavailable'],
  [metaError(400, 99, { is_transient: true }), 'social_unavailable'],
];

/** https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/error-codes */
const instagram: Row[] = [
  ...graph,
  [meta(400, 9), 'account 300000'],
  [meta(400, 9, 2_207_042), 'account 3600000'],
  [meta(400, -2, 2_207_003), 'social_unavailable'],
  [meta(400, -1, 2_207_001), 'social_unavailable'],
  [meta(400, -1, 2_207_032), 'StartOver'],
  [meta(400, -1, 2_207_053), 'StartOver'],
  [meta(400, 24, 2_207_020), 'StartOver'],
  [meta(400, 24, 2_207_008), 'StartOver'],
  [meta(400, 36_000, 2_207_004), 'social_refused'],
  [meta(400, 36_001, 2_207_005), 'social_refused'],
  [meta(400, 36_003, 2_207_009), 'social_refused'],
  [meta(400, 36_004, 2_207_010), 'social_refused'],
  [meta(400, 352, 2_207_026), 'social_refused'],
  [meta(400, 24, 2_207_050), 'social_restricted'],
  [meta(400, 24, 2_207_051), 'social_restricted'],
];

export const documented: Record<Platform, Row[]> = { tiktok, youtube, instagram, facebook: graph };
