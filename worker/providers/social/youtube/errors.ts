import type { Answer } from '../../../base/http/request.ts';
import { Limited, ReconnectNeeded, refused, TokenRefused, unavailable } from '../errors.ts';
import { jsonIn, listIn, objectIn, said, wordIn } from '../exchange.ts';

const day = 86_400_000;
/** Quotas begin anew at midnight there. https://developers.google.com/youtube/v3/determine_quota_cost */
const quotaZone = 'America/Los_Angeles';

/** What an answer means that is no success. https://developers.google.com/youtube/v3/docs/errors */
export function judgeYouTube(answer: Answer): Error {
  const { status } = answer;
  const error = objectIn(jsonIn(answer), 'error');
  const reason = wordIn(listIn(error, 'errors')[0] ?? {}, 'reason') ?? '';
  const words = `YouTube answered ${status}${reason && ` ${reason}`}${said(wordIn(error, 'message'))}`;
  switch (reason) {
    case 'quotaExceeded':
    case 'dailyLimitExceeded':
      return new Limited('app', { nextDayIn: quotaZone }, `${words}: the quota begins anew at midnight in Los Angeles`);
    case 'uploadLimitExceeded':
      return new Limited('account', day, `${words}: the channel has uploaded too many videos`);
    case 'rateLimitExceeded':
    case 'userRateLimitExceeded':
      return new Limited('account', 60_000, words);
    case 'youtubeSignupRequired':
    case 'accountClosed':
    case 'accountSuspended':
    case 'channelClosed':
    case 'channelSuspended':
      return refused('social_restricted', words);
    case 'insufficientPermissions':
      return new ReconnectNeeded(words);
    case 'forbiddenPrivacySetting':
    case 'invalidPublishAt':
      return refused('social_privacy_refused', words);
  }
  if (status === 401) return new TokenRefused(words);
  if (status === 429) return new Limited('account', 60_000, words);
  return status >= 500 || status === 408 ? unavailable(words) : refused('social_refused', words);
}
