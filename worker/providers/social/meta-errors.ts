import type { Answer } from '../../base/http/request.ts';
import { Limited, ReconnectNeeded, refused, StartOver, TokenRefused, unavailable } from './errors.ts';
import { jsonIn, objectIn, said, wordIn, type Json } from './exchange.ts';
import { regainMs } from './meta-usage.ts';

// The Graph API of Facebook and Instagram: https://developers.facebook.com/docs/graph-api/guides/error-handling and
// https://developers.facebook.com/docs/instagram-platform/instagram-graph-api/reference/error-codes

const hour = 3_600_000;

/** Of the app, of the user, of the page, of one's own; they come as 400 or 403. */
const rateCodes = new Map<number, 'account' | 'app'>([
  [4, 'app'],
  [9, 'account'],
  [17, 'account'],
  [32, 'account'],
  [613, 'account'],
]);
const isBusinessRate = (code: number) => code >= 80_000 && code <= 80_014;
const isPermission = (code: number) => code === 10 || code === 3 || (code >= 200 && code <= 299);

/** error_subcode of Instagram. */
const again = new Set([2_207_001, 2_207_003]);
const newContainer = new Set([2_207_008, 2_207_020, 2_207_032, 2_207_053]);
const restricted = new Set([2_207_050, 2_207_051]);
const dailyPosts = 2_207_042;

/** What an answer means that is no success. */
export function judgeMeta(answer: Answer, name: string): Error {
  const error = objectIn(jsonIn(answer), 'error');
  const code = Number(wordIn(error, 'code') ?? NaN);
  const subcode = Number(wordIn(error, 'error_subcode') ?? NaN);
  const words = wordsOf(answer, error, name);
  if (subcode === dailyPosts) return new Limited('account', hour, `${words}: as many posts as a day allows`);
  if (restricted.has(subcode) || code === 368) return refused('social_restricted', words);
  if (newContainer.has(subcode)) return new StartOver(words);
  if (again.has(subcode)) return unavailable(words);
  if (code === 190 || code === 102) return new TokenRefused(words);
  if (isPermission(code)) return new ReconnectNeeded(words);
  const scope = isBusinessRate(code) ? 'account' : rateCodes.get(code);
  if (scope) return new Limited(scope, regainMs(answer) ?? hour / 12, words);
  if (code === 1_390_008) return new Limited('account', hour, `${words}: it was posted too fast`);
  if (code === 1 || code === 2 || code === -1 || code === -2 || error['is_transient'] === true)
    return unavailable(words);
  if (answer.status === 429) return new Limited('account', regainMs(answer) ?? hour / 12, words);
  if (answer.status === 401) return new TokenRefused(words);
  return answer.status >= 500 || answer.status === 408 ? unavailable(words) : refused('social_refused', words);
}

function wordsOf({ status }: Answer, error: Json, name: string): string {
  const numbers = [wordIn(error, 'code'), wordIn(error, 'error_subcode')].filter((each) => each !== undefined);
  const code = numbers.length > 0 ? ` ${numbers.join('/')}` : '';
  return `${name} answered ${status}${code}${said(wordIn(error, 'error_user_msg') ?? wordIn(error, 'message'))}`;
}
