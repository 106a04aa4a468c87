import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { judgeMeta } from '../../worker/providers/social/meta-errors.ts';
import { judgeFailure, judgeTikTok } from '../../worker/providers/social/tiktok/errors.ts';
import { judgeYouTube } from '../../worker/providers/social/youtube/errors.ts';
import { metaError } from '../support/meta.ts';
import type { Answer } from '../support/platform.ts';
import { tiktokError } from '../support/tiktok.ts';
import { youtubeError } from '../support/youtube.ts';

// What each documented error means: a class, its code, and how long it waits.

const read = ({ status, headers = {}, body = {} }: Answer) => ({
  status,
  headers,
  text: JSON.stringify(body),
  truncated: false,
});

/** `social_refused`, `app 86400000`, `TokenRefused`. */
function shown(error: Error): string {
  if ('scope' in error) return `${String(error.scope)} ${JSON.stringify((error as { wait?: unknown }).wait)}`;
  return 'code' in error ? String(error.code) : error.name;
}

const day = 86_400_000;
const table: Record<string, [Error, string][]> = {
  tiktok: [
    [judgeTikTok(read(tiktokError('access_token_invalid', 401))), 'TokenRefused'],
    [judgeTikTok(read(tiktokError('scope_not_authorized', 401))), 'ReconnectNeeded'],
    [judgeTikTok(read(tiktokError('scope_permission_missed', 401))), 'ReconnectNeeded'],
    [judgeTikTok(read(tiktokError('rate_limit_exceeded', 429))), 'account 60000'],
    [judgeTikTok(read(tiktokError('spam_risk_too_many_posts', 403))), `account ${day}`],
    [judgeTikTok(read(tiktokError('spam_risk_too_many_pending_share', 403))), `account ${day}`],
    [judgeTikTok(read(tiktokError('reached_active_user_cap', 403))), `app ${day}`],
    [judgeTikTok(read(tiktokError('spam_risk_user_banned_from_posting', 403))), 'social_restricted'],
    [judgeTikTok(read(tiktokError('privacy_level_option_mismatch', 403))), 'social_privacy_refused'],
    [
      judgeTikTok(read(tiktokError('unaudited_client_can_only_post_to_private_accounts', 403))),
      'social_privacy_refused',
    ],
    [judgeTikTok(read(tiktokError('url_ownership_unverified', 403))), 'social_media_not_public'],
    [judgeTikTok(read(tiktokError('invalid_params', 400))), 'social_refused'],
    [judgeTikTok(read(tiktokError('internal_error', 500))), 'social_unavailable'],
    [judgeFailure('internal'), 'social_unavailable'],
    [judgeFailure('video_pull_failed'), 'social_unavailable'],
    [judgeFailure('file_format_check_failed'), 'social_processing_failed'],
    [judgeFailure('auth_removed'), 'ReconnectNeeded'],
  ],
  youtube: [
    [judgeYouTube(read(youtubeError(401, 'authError'))), 'TokenRefused'],
    [judgeYouTube(read(youtubeError(403, 'quotaExceeded'))), 'app {"nextDayIn":"America/Los_Angeles"}'],
    [judgeYouTube(read(youtubeError(400, 'uploadLimitExceeded'))), `account ${day}`],
    [judgeYouTube(read(youtubeError(403, 'rateLimitExceeded'))), 'account 60000'],
    [judgeYouTube(read(youtubeError(401, 'youtubeSignupRequired'))), 'social_restricted'],
    [judgeYouTube(read(youtubeError(400, 'invalidTitle'))), 'social_refused'],
    [judgeYouTube(read(youtubeError(400, 'invalidPublishAt'))), 'social_privacy_refused'],
    [judgeYouTube(read(youtubeError(503, 'backendError'))), 'social_unavailable'],
  ],
  meta: [
    [judgeMeta(read(metaError(400, 190)), 'Meta'), 'TokenRefused'],
    [judgeMeta(read(metaError(403, 200)), 'Meta'), 'ReconnectNeeded'],
    [judgeMeta(read(metaError(403, 10)), 'Meta'), 'ReconnectNeeded'],
    [judgeMeta(read(metaError(400, 4)), 'Meta'), 'app 300000'],
    [judgeMeta(read(metaError(400, 17)), 'Meta'), 'account 300000'],
    [judgeMeta(read(metaError(400, 32)), 'Meta'), 'account 300000'],
    [judgeMeta(read(metaError(400, 613)), 'Meta'), 'account 300000'],
    [judgeMeta(read(metaError(400, 80_002)), 'Meta'), 'account 300000'],
    [judgeMeta(read(metaError(400, 9, { error_subcode: 2_207_042 })), 'Meta'), 'account 3600000'],
    [judgeMeta(read(metaError(400, 368)), 'Meta'), 'social_restricted'],
    [judgeMeta(read(metaError(400, 24, { error_subcode: 2_207_050 })), 'Meta'), 'social_restricted'],
    [judgeMeta(read(metaError(400, -1, { error_subcode: 2_207_032 })), 'Meta'), 'StartOver'],
    [judgeMeta(read(metaError(400, 24, { error_subcode: 2_207_020 })), 'Meta'), 'StartOver'],
    [judgeMeta(read(metaError(400, -2, { error_subcode: 2_207_003 })), 'Meta'), 'social_unavailable'],
    [judgeMeta(read(metaError(500, 2)), 'Meta'), 'social_unavailable'],
    [judgeMeta(read(metaError(400, 99, { is_transient: true })), 'Meta'), 'social_unavailable'],
    [judgeMeta(read(metaError(400, 36_000, { error_subcode: 2_207_004 })), 'Meta'), 'social_refused'],
    [judgeMeta(read(metaError(400, 506)), 'Meta'), 'social_refused'],
  ],
};

for (const [platform, rows] of Object.entries(table))
  suite(platform, () => {
    for (const [error, expected] of rows)
      test(error.message, () => {
        assert.equal(shown(error), expected);
      });
  });

test('usage headers say when a limit is free again, in minutes, whatever else they have', () => {
  const usage = { 1: [{ type: 'pages', call_count: 100, estimated_time_to_regain_access: 19 }] };
  const headers = { 'x-business-use-case-usage': JSON.stringify(usage), 'x-app-usage': 'no JSON' };
  const error = judgeMeta(read({ ...metaError(400, 80_001), headers }), 'Meta');
  assert.equal(shown(error), `account ${19 * 60_000}`);
});
