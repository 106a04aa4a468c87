import assert from 'node:assert/strict';
import { createConsents, type Consents } from './social-consents.ts';
import { startPlatform, type Answer, type Asked, type Made, type Platform } from './platform.ts';

type Upload = { id: string; size: number; there: number; text?: string; published?: true };
type Container = { id: string; text: string; status: string; post?: string };

export type FakeMeta = Platform & {
  env: Record<string, string>;
  posts: Made[];
  consents: Consents;
  containers: Container[];
  valid: { token: string; renewals: number };
  /** What new containers and videos become; headers of each answer; the limit of Instagram. */
  will: { container: string; video: string; headers: Record<string, string>; used: number };
};

/** What Meta answers instead. https://developers.facebook.com/docs/graph-api/guides/error-handling */
export const metaError = (status: number, code: number, rest: object = {}): Answer => ({
  status,
  body: { error: { code, message: `about ${code}`, type: 'OAuthException', fbtrace_id: 'trace', ...rest } },
});

const ok = (body: object): Answer => ({ status: 200, body });
const account = '17841400000000000';

/** The Graph API, for users of Instagram and for pages of Facebook: ids of 17 digits that begin with 1784140. */
export async function startMeta({ site = 'www.instagram.com/p', as = account } = {}): Promise<FakeMeta> {
  const posts: Made[] = [];
  const consents = createConsents(as);
  const containers: Container[] = [];
  const uploads: Upload[] = [];
  const valid = { token: 'access-1', renewals: 0 };
  const will = { container: 'FINISHED', video: 'ready', headers: {}, used: 0 };
  const publish = (text: string, id = `post${posts.length + 1}`) => {
    posts.push({ id, text, at: new Date() });
    return id;
  };

  function instagram(asked: Asked, form: URLSearchParams, path: string): Answer | undefined {
    switch (`${asked.method} ${path}`) {
      case `POST /${account}/media`: {
        for (const name of ['video_url', 'image_url'])
          if (form.has(name)) assert.match(form.get(name)!, /^https?:\/\//, name);
        assert.notEqual(form.get('media_type'), 'VIDEO', 'VIDEO is gone: REELS');
        const id = `c${containers.length + 1}`;
        containers.push({ id, text: form.get('caption') ?? '', status: will.container });
        return ok({ id });
      }
      case `POST /${account}/media_publish`: {
        const container = containers.find(({ id }) => id === form.get('creation_id'));
        if (container?.status !== 'FINISHED') return metaError(400, 9_007, { error_subcode: 2_207_027 });
        container.status = 'PUBLISHED';
        container.post = publish(container.text);
        return ok({ id: container.post });
      }
      case `GET /${account}/content_publishing_limit`:
        return ok({ data: [{ quota_usage: will.used, config: { quota_total: 25, quota_duration: 86_400 } }] });
      case `GET /${account}/media`:
        return ok({
          data: posts.map(({ id, text, at }) => ({
            id,
            caption: text,
            timestamp: at.toISOString(),
            permalink: `https://${site}/${id}/`,
          })),
        });
    }
    const container = containers.find(({ id }) => path === `/${id}`);
    if (container)
      return ok({ id: container.id, status_code: container.status, status: `${container.status}: 2207026` });
    return undefined;
  }

  function facebook(asked: Asked, form: URLSearchParams, path: string, base: string): Answer | undefined {
    switch (`${asked.method} ${path}`) {
      case `POST /${account}/feed`:
        return ok({ id: publish(form.get('message') ?? '') });
      case `POST /${account}/photos`:
        assert.equal(form.get('published'), 'false');
        return ok({ id: `photo${Math.random()}` });
      case `POST /${account}/videos`: {
        const handle = form.get('fbuploader_video_file_chunk');
        if (handle) assert.ok(uploads.some(({ id, size, there }) => handle === `h-${id}` && size === there));
        else assert.match(form.get('file_url')!, /^https?:/);
        return ok({ id: publish(form.get('description') ?? '') });
      }
      case `POST /${account}/video_reels`: {
        if (form.get('upload_phase') === 'start') {
          const id = `reel${uploads.length + 1}`;
          uploads.push({ id, size: 0, there: 0 });
          return ok({ video_id: id, upload_url: `${base}/rupload/${id}` });
        }
        const reel = uploads.find(({ id }) => id === form.get('video_id'))!;
        assert.equal(form.get('upload_phase'), 'finish');
        if (reel.there < reel.size || reel.size === 0) return metaError(400, 6_000);
        if (!reel.published) publish(form.get('description') ?? '', reel.id);
        reel.published = true;
        return ok({ success: true });
      }
      case `POST /app/uploads`: {
        const id = `up${uploads.length + 1}`;
        uploads.push({ id, size: Number(form.get('file_length')), there: 0 });
        return ok({ id: `upload:${id}` });
      }
      case `GET /${account}/feed`:
      case `GET /${account}/videos`:
        return ok({
          data: posts.map(({ id, text, at }) => ({
            id,
            message: text,
            description: text,
            created_time: at.toISOString(),
            permalink_url: `https://${site}/${id}/`,
          })),
        });
    }
    const upload = uploads.find(({ id }) => path === `/upload:${id}`);
    if (upload && asked.method === 'GET') return ok({ id: upload.id, file_offset: upload.there });
    if (upload) {
      if (Number(asked.headers['file_offset']) !== upload.there) return metaError(400, 100);
      upload.there += asked.bytes;
      return upload.there === upload.size ? ok({ h: `h-${upload.id}` }) : metaError(400, 100);
    }
    const reel = uploads.find(({ id }) => path === `/${id}`);
    if (reel)
      return ok({
        status: {
          video_status: will.video,
          uploading_phase: { status: 'in_progress', bytes_transferred: reel.there },
          publishing_phase: { status: reel.published ? 'complete' : 'not_started' },
        },
      });
    return undefined;
  }

  function bytesOfReel(asked: Asked): Answer {
    const reel = uploads.find(({ id }) => asked.path === `/rupload/${id}`)!;
    assert.equal(asked.headers.authorization, `OAuth ${valid.token}`);
    assert.equal(Number(asked.headers['offset']), reel.there);
    reel.size = Number(asked.headers['file_size']);
    reel.there += asked.bytes;
    return ok({ success: true });
  }

  const platform = await startPlatform((asked, base) => {
    const answer = answerTo(asked, base);
    return { ...answer, headers: { ...answer.headers, ...will.headers } };
  });

  function answerTo(asked: Asked, base: string): Answer {
    if (asked.path.startsWith('/rupload/')) return bytesOfReel(asked);
    if (/\/(refresh_access_token|access_token)$/.test(asked.path)) {
      const given = asked.method === 'POST' ? new URLSearchParams(asked.body) : asked.query;
      if (given.has('code') && !consents.redeem(given)) return metaError(400, 100);
      valid.renewals++;
      valid.token = `access-${valid.renewals + 1}`;
      return ok({ access_token: valid.token, token_type: 'bearer', expires_in: 5_184_000 });
    }
    const given = asked.headers.authorization ?? `Bearer ${asked.query.get('access_token')}`;
    if (![`Bearer ${valid.token}`, `OAuth ${valid.token}`].includes(given)) return metaError(400, 190);
    const [, version, named = ''] = /^\/(v\d+\.0)(\/.+)$/.exec(asked.path) ?? [];
    const path = named.replace(/^\/1784140\d{10}/, `/${account}`);
    if (!version || Number(version.slice(1)) < 21) return metaError(400, 2_635, { message: 'this version has ended' });
    const me = { name: 'Launches', username: 'launches', access_token: valid.token };
    if (path === '/me') return ok({ user_id: consents.as, ...me });
    if (path === '/me/accounts') return ok({ data: [{ id: consents.as, ...me }] });
    if (asked.method === 'GET' && path === `/${account}`) return ok({ id: account, access_token: valid.token });
    const form = new URLSearchParams(asked.body);
    const answer = instagram(asked, form, path) ?? facebook(asked, form, path, base);
    if (answer) return answer;
    const post = posts.find(({ id }) => path === `/${id}`);
    if (!post) return metaError(400, 100);
    const permalink = `https://${site}/${post.id}/`;
    return ok({ id: post.id, permalink, permalink_url: permalink, status: { video_status: will.video } });
  }

  const env = {
    INSTAGRAM_APP_ID: 'app',
    INSTAGRAM_APP_SECRET: 'instagram-secret',
    INSTAGRAM_API_URL: platform.url,
    INSTAGRAM_OAUTH_URL: `${platform.url}/oauth/access_token`,
    FACEBOOK_APP_ID: 'app',
    FACEBOOK_APP_SECRET: 'facebook-secret',
    FACEBOOK_API_URL: platform.url,
    FACEBOOK_VIDEO_URL: platform.url,
  };
  return Object.assign(platform, { env, posts, consents, containers, valid, will });
}

export const metaAccount = account;
