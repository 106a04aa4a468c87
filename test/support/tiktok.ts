import assert from 'node:assert/strict';
import { createConsents, type Consents } from './social-consents.ts';
import { rangeIn, startPlatform, type Answer, type Asked, type Made, type Platform } from './platform.ts';

type Upload = { title: string; size: number; chunk: number; chunks: number; sent: number; done: boolean };

export type FakeTikTok = Platform & {
  env: Record<string, string>;
  posts: Made[];
  consents: Consents;
  /** The access token that it accepts; each renewal makes another. */
  valid: { token: string; refresh: string; renewals: number };
  /** What the next posts become. */
  outcome: { status: string; fail_reason?: string };
};

const said = (code: string, status: number, data: object = {}): Answer => ({
  status,
  body: { data, error: { code, message: code === 'ok' ? '' : `about ${code}`, log_id: 'log' } },
});

/** What TikTok answers instead. https://developers.tiktok.com/doc/tiktok-api-v2-error-handling */
export const tiktokError = (code: string, status: number) => said(code, status);

/** As TikTok's ids, it does not fit a double. In JSON it is a number. */
const bigId = '7412345678901234567';

/** The Content Posting API. It checks chunks by TikTok's rule, which rounds their number down. */
export async function startTikTok(): Promise<FakeTikTok> {
  const uploads = new Map<string, Upload>();
  const posts: Made[] = [];
  const consents = createConsents('open-id');
  const valid = { token: 'access-1', refresh: 'refresh-1', renewals: 0 };
  const outcome: FakeTikTok['outcome'] = { status: 'PUBLISH_COMPLETE' };

  const publish = (id: string, text: string) =>
    posts.some((post) => post.id === id) || posts.push({ id, text, at: new Date() });

  function token({ body }: Asked): Answer {
    const form = new URLSearchParams(body);
    if (form.get('client_secret') !== 'tiktok-secret') return { status: 401, body: { error: 'invalid_client' } };
    const isCode = form.get('grant_type') === 'authorization_code';
    if (isCode && !consents.redeem(form)) return { status: 400, body: { error: 'invalid_grant' } };
    if (!isCode && form.get('refresh_token') !== valid.refresh)
      return { status: 400, body: { error: 'invalid_grant' } };
    valid.renewals++;
    valid.token = `access-${valid.renewals + 1}`;
    valid.refresh = `refresh-${valid.renewals + 1}`;
    const given = { access_token: valid.token, refresh_token: valid.refresh, expires_in: 86_400 };
    return { status: 200, body: { ...given, ...(isCode ? { open_id: consents.as, scope: 'video.publish' } : {}) } };
  }

  function init({ body, path }: Asked, base: string): Answer {
    const { post_info: info = {}, source_info: source } = JSON.parse(body);
    if (!path.includes('/inbox/')) assert.match(info.privacy_level, /^[A-Z_]+$/);
    const { video_size: size, chunk_size: chunk, total_chunk_count: chunks } = source;
    assert.equal(chunks, Math.max(1, Math.floor(size / chunk)), 'total_chunk_count is rounded down');
    assert.ok(chunks >= 1 && chunks <= 1_000);
    if (chunks > 1) assert.ok(chunk >= 5_000_000 && chunk <= 64_000_000, `chunk_size ${chunk}`);
    else assert.equal(chunk, size);
    const id = `v_pub_file~${uploads.size + 1}`;
    uploads.set(id, { title: info.title ?? 'draft', size, chunk, chunks, sent: 0, done: false });
    return said('ok', 200, { publish_id: id, upload_url: `${base}/upload?id=${encodeURIComponent(id)}` });
  }

  function take(asked: Asked): Answer {
    const id = asked.query.get('id')!;
    const upload = uploads.get(id);
    if (!upload) return { status: 404 };
    const { start, end, total } = rangeIn(asked);
    assert.equal(total, upload.size);
    if (start !== upload.sent * upload.chunk) return { status: 416 };
    const isLast = upload.sent === upload.chunks - 1;
    assert.equal(end, isLast ? total : start + upload.chunk);
    if (asked.bytes < end - start) return { status: 400 };
    upload.sent++;
    upload.done = isLast;
    if (isLast && outcome.status !== 'FAILED') publish(id, upload.title);
    return { status: isLast ? 201 : 206 };
  }

  function status({ body }: Asked): Answer {
    const { publish_id: id } = JSON.parse(body);
    const upload = uploads.get(id);
    if (upload && !upload.done) return said('ok', 200, { status: 'PROCESSING_UPLOAD' });
    const ids = outcome.status === 'PUBLISH_COMPLETE' ? { publicaly_available_post_id: [bigId] } : {};
    return said('ok', 200, { ...outcome, ...ids });
  }

  function photos({ body }: Asked): Answer {
    const { post_info, source_info, media_type } = JSON.parse(body);
    assert.equal(media_type, 'PHOTO');
    assert.equal(source_info.source, 'PULL_FROM_URL');
    for (const image of source_info.photo_images) assert.match(image, /^https?:/);
    const id = `p_pub_url~${posts.length + 1}`;
    publish(id, post_info.title);
    return said('ok', 200, { publish_id: id });
  }

  const platform = await startPlatform((asked, base) => {
    if (asked.path === '/v2/oauth/token/') return token(asked);
    if (asked.path === '/upload') return take(asked);
    if (asked.headers.authorization !== `Bearer ${valid.token}`) return said('access_token_invalid', 401);
    switch (asked.path.replace('/v2/post/publish/', '')) {
      case 'creator_info/query/':
        return said('ok', 200, {
          creator_username: 'ada',
          privacy_level_options: ['PUBLIC_TO_EVERYONE', 'SELF_ONLY'],
          max_video_post_duration_sec: 300,
          comment_disabled: false,
        });
      case 'video/init/':
      case 'inbox/video/init/':
        return init(asked, base);
      case 'content/init/':
        return photos(asked);
      case 'status/fetch/':
        return status(asked);
    }
    return { status: 404 };
  });
  const app = { TIKTOK_CLIENT_KEY: 'key', TIKTOK_CLIENT_SECRET: 'tiktok-secret', TIKTOK_API_URL: platform.url };
  return Object.assign(platform, { env: app, posts, consents, valid, outcome });
}
