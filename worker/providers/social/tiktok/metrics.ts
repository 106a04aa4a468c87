import type { Config } from '../../../base/config/config.ts';
import type { Answer } from '../../../base/http/request.ts';
import { Limited, ReconnectNeeded, refused, TokenRefused, unavailable } from '../errors.ts';
import { exchange, jsonIn, listIn, numberIn, objectIn, said, wordIn, type Json } from '../exchange.ts';
import { countIn, timeIn, type Metrics, type OfPost } from '../metrics.ts';
import { service } from './service.ts';

const ofPost = 'id,title,create_time,share_url,view_count,like_count,comment_count,share_count';
const ofAccount = 'open_id,display_name,follower_count,video_count';

/** Counters since a video was published; no reach, no saves. https://developers.tiktok.com/doc/tiktok-api-v2-video-list */
export function createTikTokMetrics({ social: { tiktok, timeoutMs } }: Pick<Config, 'social'>): Metrics {
  const ask = async (path: string, token: string, body: object | undefined, signal: AbortSignal): Promise<Json> => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body ? { 'content-type': 'application/json; charset=UTF-8' } : {}),
    };
    const answer = await exchange(new URL(`${tiktok.url}${path}`), {
      service,
      headers,
      timeoutMs,
      signal,
      ...(body ? { method: 'POST' as const, body: JSON.stringify(body) } : {}),
    });
    const code = wordIn(objectIn(jsonIn(answer), 'error'), 'code');
    if (answer.status !== 200 || code !== 'ok') throw judge(answer, code ?? '');
    return objectIn(jsonIn(answer), 'data');
  };
  return {
    async account(token, { signal }) {
      const user = objectIn(await ask(`/v2/user/info/?fields=${ofAccount}`, token, undefined, signal), 'user');
      const readings = {
        followers: countIn(numberIn(user, 'follower_count')),
        posts: countIn(numberIn(user, 'video_count')),
      };
      return { external_id: wordIn(user, 'open_id') ?? '', name: wordIn(user, 'display_name'), readings };
    },
    async *posts(token, { signal }) {
      for (let cursor: number | undefined; ;) {
        const body = { max_count: 20, ...(cursor === undefined ? {} : { cursor }) };
        const page = await ask(`/v2/video/list/?fields=${ofPost}`, token, body, signal);
        yield listIn(page, 'videos').map(read);
        const next = numberIn(page, 'cursor');
        if (page['has_more'] !== true || next === undefined || next === cursor) return;
        cursor = next;
      }
    },
    async post(token, id, { signal }) {
      const body = { filters: { video_ids: [id] } };
      const found = await ask(`/v2/video/query/?fields=${ofPost}`, token, body, signal);
      return listIn(found, 'videos').map(read)[0];
    },
  };
}

const read = (video: Json): OfPost => ({
  external_id: wordIn(video, 'id') ?? '',
  published_at: timeIn(wordIn(video, 'create_time')),
  title: wordIn(video, 'title'),
  url: wordIn(video, 'share_url'),
  readings: {
    views: countIn(numberIn(video, 'view_count')),
    likes: countIn(numberIn(video, 'like_count')),
    comments: countIn(numberIn(video, 'comment_count')),
    shares: countIn(numberIn(video, 'share_count')),
  },
});

/** https://developers.tiktok.com/doc/tiktok-api-v2-error-handling */
function judge(answer: Answer, code: string): Error {
  const message = wordIn(objectIn(jsonIn(answer), 'error'), 'message');
  const words = `TikTok answered ${answer.status} ${code}${said(message)}`;
  if (code === 'access_token_invalid') return new TokenRefused(words);
  if (code === 'scope_not_authorized' || code === 'scope_permission_missed') return new ReconnectNeeded(words);
  if (code === 'rate_limit_exceeded' || answer.status === 429) return new Limited('account', 60_000, words);
  if (answer.status === 401) return new TokenRefused(words);
  return answer.status >= 500 || code === 'internal_error' || answer.status === 200
    ? unavailable(words)
    : refused('social_refused', words);
}
