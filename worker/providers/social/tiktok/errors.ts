import type { Answer } from '../../../base/http/request.ts';
import { retryAfterMs } from '../../../base/retry.ts';
import { Limited, ReconnectNeeded, refused, TokenRefused, unavailable } from '../errors.ts';
import { jsonIn, objectIn, said, wordIn } from '../exchange.ts';

const minute = 60_000;
const day = 86_400_000;

/** https://developers.tiktok.com/doc/tiktok-api-v2-error-handling: `ok` is in each answer that is a success. */
export function judgeTikTok(answer: Answer): Error {
  const error = objectIn(jsonIn(answer), 'error');
  const code = wordIn(error, 'code') ?? '';
  const words = `TikTok answered ${answer.status}${code && ` ${code}`}${said(wordIn(error, 'message'))}`;
  const known = judgeCode(code, words);
  if (known) return known;
  if (code === 'rate_limit_exceeded' || answer.status === 429)
    return new Limited('account', retryAfterMs(answer.headers['retry-after']) ?? minute, words);
  if (answer.status === 401) return new TokenRefused(words);
  return answer.status >= 500 || code === 'ok' || code === '' ? unavailable(words) : refused('social_refused', words);
}

function judgeCode(code: string, words: string): Error | undefined {
  switch (code) {
    case 'access_token_invalid':
      return new TokenRefused(words);
    case 'scope_not_authorized':
    case 'scope_permission_missed':
      return new ReconnectNeeded(`${words}: the owner has not given the permission`);
    case 'spam_risk_too_many_posts':
      return new Limited('account', day, `${words}: the creator has posted as often as a day allows`);
    case 'spam_risk_too_many_pending_share':
      return new Limited('account', day, `${words}: the owner must finish the drafts in the app first`);
    case 'reached_active_user_cap':
      return new Limited('app', day, `${words}: the app has posted for as many users as a day allows`);
    case 'privacy_level_option_mismatch':
    case 'unaudited_client_can_only_post_to_private_accounts':
      return refused('social_privacy_refused', words);
    case 'url_ownership_unverified':
      return refused('social_media_not_public', `${words}: verify the domain in TikTok's developer portal`);
    case 'internal':
    case 'internal_error':
      return unavailable(words);
  }
  return code.startsWith('spam_risk') ? refused('social_restricted', words) : undefined;
}

/** Why TikTok did not publish what it had taken: `fail_reason`. It says that nothing is public. */
export function judgeFailure(reason: string): Error {
  const words = `TikTok could not publish it: ${reason || 'it gives no reason'}`;
  if (['internal', 'video_pull_failed', 'photo_pull_failed'].includes(reason)) return unavailable(words);
  if (reason === 'auth_removed') return new ReconnectNeeded(words);
  return judgeCode(reason, words) ?? refused('social_processing_failed', words);
}
