import { startVendor, type Asked } from '../vendor.ts';

/** What four platforms answer to requests for metrics, on one loopback socket. The token says who asks. */
export type Insights = { env: Record<string, string>; close(): Promise<void> };

type Said = { status: number; body: object };

export async function startInsights(): Promise<Insights> {
  const vendor = await startVendor((asked) => {
    const url = new URL(asked.path, 'http://platform.example');
    const { status, body } = answer(url, asked, (asked.headers.authorization ?? '').replace('Bearer ', ''));
    return { status, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  });
  const names = ['TIKTOK_API_URL', 'YOUTUBE_API_URL', 'INSTAGRAM_API_URL', 'FACEBOOK_API_URL'];
  const paths = ['/tiktok', '/youtube', '/instagram', '/facebook'];
  return {
    env: Object.fromEntries(names.map((name, n) => [name, `${vendor.url}${paths[n]!}`])),
    close: vendor.close,
  };
}

function answer(url: URL, asked: Asked, token: string): Said {
  const [, platform = '', ...rest] = url.pathname.split('/');
  const path = rest.join('/');
  if (platform === 'tiktok') return tiktok(path, url, asked, token);
  if (platform === 'youtube') return youtube(path.replace('youtube/v3/', ''), url, token);
  const [version = '', ...named] = rest;
  if (!/^v\d+\.\d$/.test(version)) return graphError(400, 2_635, 'no version');
  if (token === 'expired') return graphError(400, 190, 'Error validating access token');
  if (token === 'down') return graphError(500, 2, 'Service temporarily unavailable');
  if (token !== 'token') return graphError(400, 190, 'Invalid OAuth access token');
  return platform === 'instagram' ? instagram(named.join('/'), url) : facebook(named.join('/'), url);
}

const ok = (body: object): Said => ({ status: 200, body });
const tiktokError = (status: number, code: string): Said => ({
  status,
  body: { data: {}, error: { code, message: code, log_id: 'x' } },
});

/** https://developers.tiktok.com/doc/tiktok-api-v2-video-list */
function tiktok(path: string, url: URL, { method, body }: Asked, token: string): Said {
  const said = (data: object) => ok({ data, error: { code: 'ok', message: '', log_id: 'x' } });
  if (token === 'expired') return tiktokError(401, 'access_token_invalid');
  if (token === 'limited') return tiktokError(429, 'rate_limit_exceeded');
  if (!url.searchParams.get('fields')) return tiktokError(400, 'invalid_params');
  if (path === 'v2/user/info/' && method === 'GET')
    return said({ user: { open_id: `open-${token}`, display_name: 'Ada', follower_count: 1_200, video_count: 3 } });
  const given = JSON.parse(body) as { max_count?: number; cursor?: number; filters?: { video_ids: string[] } };
  if (path === 'v2/video/query/' && method === 'POST') {
    const [id] = given.filters!.video_ids;
    const video = { id, title: 'One', create_time: 1_700_000_000, share_url: 'https://www.tiktok.com/@a/video/1' };
    return said({ videos: id === '404' ? [] : [{ ...video, view_count: 1_000, like_count: 50, comment_count: 4 }] });
  }
  if (path !== 'v2/video/list/' || (given.max_count ?? 10) > 20) return tiktokError(400, 'invalid_params');
  const from = given.cursor ?? 0;
  const videos = Array.from({ length: Math.min(20, 45 - from) }, (_, n) => ({
    id: String(from + n + 1),
    create_time: Math.floor(Date.now() / 1_000) - (from + n) * 3_600,
    view_count: 10,
  }));
  return said({ videos, cursor: from + 20, has_more: from + 20 < 45 });
}

/** https://developers.google.com/youtube/v3/docs: counts are text; hidden ones are left out. */
function youtube(path: string, url: URL, token: string): Said {
  if (token !== 'token') return { status: 401, body: { error: { code: 401, errors: [{ reason: 'authError' }] } } };
  const { searchParams } = url;
  if (!searchParams.get('part')) return { status: 400, body: { error: { errors: [{ reason: 'missingRequired' }] } } };
  if (path === 'channels')
    return ok({
      items: [
        {
          id: 'channel',
          snippet: { title: 'Ada' },
          statistics: { subscriberCount: '0', hiddenSubscriberCount: true, videoCount: '2' },
          contentDetails: { relatedPlaylists: { uploads: 'UU1' } },
        },
      ],
    });
  if (path === 'playlistItems') {
    const isFirst = searchParams.get('pageToken') === null;
    const items = [{ contentDetails: { videoId: isFirst ? 'v1' : 'v2' } }];
    return ok(isFirst ? { items, nextPageToken: 'second' } : { items });
  }
  const statistics: Record<string, object> = {
    v1: { viewCount: '900', likeCount: '20' },
    v2: { viewCount: '3', likeCount: '2', commentCount: '1' },
  };
  const ids = (searchParams.get('id') ?? '').split(',');
  const snippet = { title: 'Two', publishedAt: new Date().toISOString() };
  return ok({ items: ids.map((id) => ({ id, snippet, statistics: statistics[id] })) });
}

const graphError = (status: number, code: number, message: string): Said => ({
  status,
  body: { error: { code, message, type: 'OAuthException', fbtrace_id: 'x' } },
});
const metric = (name: string, value: number) => ({ name, period: 'lifetime', values: [{ value }] });

/** m2 is a picture: it has fewer metrics, and the whole list is refused for one of them. */
function instagram(path: string, url: URL): Said {
  const { searchParams } = url;
  if (path === 'me') return ok({ user_id: 'ig-1', username: 'ada', followers_count: 77, media_count: 2 });
  if (path === 'me/media') {
    const isFirst = searchParams.get('after') === null;
    const data = [
      { id: isFirst ? 'm1' : 'm2', timestamp: new Date().toISOString().replace('Z', '+0000'), caption: 'Three' },
    ];
    return ok({ data, paging: { cursors: { after: 'm1' }, ...(isFirst ? { next: 'https://next.example' } : {}) } });
  }
  const asked = (searchParams.get('metric') ?? '').split(',');
  const known: Record<string, number> =
    path === 'm1/insights'
      ? { views: 100, reach: 90, likes: 10, comments: 2, shares: 1, saved: 3 }
      : { likes: 10, comments: 2, shares: 1 };
  const refused = asked.filter((name) => !(name in known) && name !== 'views');
  if (refused.length > 0) return graphError(400, 100, `(#100) metric ${refused.join(', ')} is not supported`);
  // The platform leaves out what it does not know yet.
  return ok({ data: asked.filter((name) => name in known).map((name) => metric(name, known[name]!)) });
}

function facebook(path: string, url: URL): Said {
  if (path === 'me') return ok({ id: 'page-1', name: 'Ada', followers_count: 55 });
  if (path === 'me/posts')
    return ok({
      data: [
        {
          id: 'p1',
          created_time: '2026-11-01T10:00:00+0000',
          shares: { count: 9 },
          reactions: { data: [], summary: { total_count: 30 } },
          comments: { data: [], summary: { total_count: 6 } },
        },
      ],
    });
  const asked = (url.searchParams.get('metric') ?? '').split(',');
  if (asked.length > 1) return graphError(400, 100, '(#100) The value must be a valid insights metric');
  if (asked[0] === 'post_media_view') return graphError(400, 100, '(#100) The value must be a valid insights metric');
  return ok({ data: [metric(asked[0]!, asked[0] === 'post_clicks' ? 8 : 300)] });
}
