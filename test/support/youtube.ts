import assert from 'node:assert/strict';
import { createConsents, type Consents } from './social-consents.ts';
import { rangeIn, startPlatform, type Answer, type Asked, type Made, type Platform } from './platform.ts';

type Session = { title: string; size: number; there: number; video?: string; gone?: true };

export type FakeYouTube = Platform & {
  env: Record<string, string>;
  posts: Made[];
  consents: Consents;
  sessions: Session[];
  valid: { token: string; renewals: number };
  outcome: { uploadStatus: string; failureReason?: string };
};

/** What YouTube answers instead. https://developers.google.com/youtube/v3/docs/errors */
export const youtubeError = (status: number, reason: string): Answer => ({
  status,
  body: { error: { code: status, message: `about ${reason}`, errors: [{ reason, domain: 'youtube' }] } },
});

/** The Data API with resumable uploads: chunks are multiples of 256 KiB, and what broke off counts byte by byte. */
export async function startYouTube(): Promise<FakeYouTube> {
  const sessions: Session[] = [];
  const posts: Made[] = [];
  const consents = createConsents('UC1');
  const valid = { token: 'access-1', renewals: 0 };
  const outcome: FakeYouTube['outcome'] = { uploadStatus: 'processed' };

  function begin({ body, headers }: Asked, base: string): Answer {
    const { snippet, status } = JSON.parse(body);
    if (!snippet.title) return youtubeError(400, 'invalidTitle');
    assert.match(status.privacyStatus, /^(public|private|unlisted)$/);
    sessions.push({ title: snippet.title, size: Number(headers['x-upload-content-length']), there: 0 });
    return { status: 200, headers: { location: `${base}/session?id=${sessions.length - 1}` } };
  }

  function take(asked: Asked): Answer {
    const session = sessions[Number(asked.query.get('id'))];
    if (!session || session.gone) return { status: 404 };
    const { start, end, total } = rangeIn(asked);
    assert.equal(total, session.size);
    const progress = (): Answer => ({
      status: 308,
      headers: session.there > 0 ? { range: `bytes=0-${session.there - 1}` } : {},
    });
    if (start >= 0 && !session.video) {
      if (start !== session.there) return progress();
      if (end < total) assert.equal((end - start) % 262_144, 0, 'chunks are multiples of 256 KiB');
      session.there += Math.min(asked.bytes, end - start);
    }
    if (session.there < session.size) return progress();
    if (!session.video) {
      session.video = `video${posts.length + 1}`;
      posts.push({ id: session.video, text: session.title, at: new Date() });
    }
    return { status: 201, body: { id: session.video, kind: 'youtube#video' } };
  }

  const platform = await startPlatform((asked, base) => {
    if (asked.path === '/token') {
      const form = new URLSearchParams(asked.body);
      const isCode = form.get('grant_type') === 'authorization_code';
      if (isCode && !consents.redeem(form)) return { status: 400, body: { error: 'invalid_grant' } };
      valid.renewals++;
      valid.token = `access-${valid.renewals + 1}`;
      const refresh = isCode ? { refresh_token: 'refresh-1' } : {};
      return { status: 200, body: { access_token: valid.token, expires_in: 3_600, ...refresh } };
    }
    if (asked.headers.authorization !== `Bearer ${valid.token}`) return youtubeError(401, 'authError');
    switch (asked.path) {
      case '/upload/youtube/v3/videos':
        return begin(asked, base);
      case '/session':
        return take(asked);
      case '/upload/youtube/v3/thumbnails/set':
        return { status: 200, body: {} };
      case '/youtube/v3/videos':
        return { status: 200, body: { items: [{ id: asked.query.get('id'), status: outcome }] } };
      case '/youtube/v3/channels':
        return {
          status: 200,
          body: {
            items: [
              {
                id: consents.as,
                snippet: { title: 'Launches' },
                contentDetails: { relatedPlaylists: { uploads: 'UU1' } },
              },
            ],
          },
        };
      case '/youtube/v3/playlistItems':
        return {
          status: 200,
          body: {
            items: posts.map(({ id, text, at }) => ({
              snippet: { title: text, publishedAt: at.toISOString() },
              contentDetails: { videoId: id },
            })),
          },
        };
    }
    return youtubeError(404, 'notFound');
  });
  const env = {
    YOUTUBE_CLIENT_ID: 'id',
    YOUTUBE_CLIENT_SECRET: 'youtube-secret',
    YOUTUBE_API_URL: platform.url,
    YOUTUBE_OAUTH_URL: `${platform.url}/token`,
  };
  return Object.assign(platform, { env, posts, consents, sessions, valid, outcome });
}
