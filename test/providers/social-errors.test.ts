import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { platforms, type Platform } from '../../worker/providers/social/social.ts';
import { judgeMeta } from '../../worker/providers/social/meta-errors.ts';
import { judgeFailure, judgeTikTok } from '../../worker/providers/social/tiktok/errors.ts';
import { judgeYouTube } from '../../worker/providers/social/youtube/errors.ts';
import { metaError } from '../support/meta.ts';
import type { Answer } from '../support/platform.ts';
import { documented } from '../support/social-errors.ts';

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

const judges: Record<Platform, (answer: ReturnType<typeof read>) => Error> = {
  tiktok: judgeTikTok,
  youtube: judgeYouTube,
  instagram: (answer) => judgeMeta(answer, 'Instagram'),
  facebook: (answer) => judgeMeta(answer, 'Facebook'),
};

for (const platform of platforms)
  suite(platform, () => {
    for (const [answer, expected] of documented[platform]) {
      const error = judges[platform](read(answer));
      test(error.message, () => {
        assert.equal(shown(error), expected);
      });
    }
  });

suite('why TikTok did not publish what it had taken', () => {
  for (const [reason, expected] of [
    ['internal', 'social_unavailable'],
    ['video_pull_failed', 'social_unavailable'],
    ['photo_pull_failed', 'social_unavailable'],
    ['file_format_check_failed', 'social_processing_failed'],
    ['duration_check_failed', 'social_processing_failed'],
    ['frame_rate_check_failed', 'social_processing_failed'],
    ['picture_size_check_failed', 'social_processing_failed'],
    ['publish_cancelled', 'social_processing_failed'],
    ['auth_removed', 'ReconnectNeeded'],
    ['spam_risk_too_many_posts', 'account 86400000'],
    ['spam_risk', 'social_restricted'],
    ['', 'social_processing_failed'],
  ] as const)
    test(reason || 'no reason', () => assert.equal(shown(judgeFailure(reason)), expected));
});

test('usage headers say when a limit is free again, in minutes, whatever else they have', () => {
  const usage = { 1: [{ type: 'pages', call_count: 100, estimated_time_to_regain_access: 19 }] };
  const headers = { 'x-business-use-case-usage': JSON.stringify(usage), 'x-app-usage': 'no JSON' };
  const error = judgeMeta(read({ ...metaError(400, 80_001), headers }), 'Meta');
  assert.equal(shown(error), `account ${19 * 60_000}`);
});
