import { Readable } from 'node:stream';
import { html } from 'hono/html';
import { contentTypeOf } from '../../base/storage/content-type.ts';
import type { ByteRange } from '../../base/storage/storage.ts';
import { showJob } from '../../queue/client/operate.ts';
import { count, size } from './elements.ts';
import type { House, Http } from './house.ts';
import type { Markup } from './layout.ts';

// What a job has made, as pictures and players. The files come through the dashboard: the policy of the pages allows
// no other origin, and a private bucket needs no signed address in the page.

type Shown = 'picture' | 'video' | 'sound';
export type Medium = { key: string; name: string; shown: Shown; bytes: number | null; dimensions: string | null };

/** What browsers show without running anything. */
const shownTypes: Record<string, Shown> = {
  'image/avif': 'picture',
  'image/gif': 'picture',
  'image/jpeg': 'picture',
  'image/png': 'picture',
  'image/webp': 'picture',
  'video/mp4': 'video',
  'video/webm': 'video',
  'audio/mpeg': 'sound',
  'audio/mp4': 'sound',
  'audio/ogg': 'sound',
  'audio/wav': 'sound',
};
const most = 12;

/** The files that a result names by `key`: the first ones, each once. */
export function mediaOf(result: unknown): Medium[] {
  const found = new Map<string, Medium>();
  const walk = (value: unknown, name: string, depth: number): void => {
    if (typeof value !== 'object' || value === null || depth > 6 || found.size >= most) return;
    const { key, bytes, width, height } = value as Record<string, unknown>;
    const shown = typeof key === 'string' ? shownTypes[contentTypeOf(key)] : undefined;
    if (typeof key === 'string' && shown && !found.has(key))
      found.set(key, {
        key,
        name,
        shown,
        bytes: typeof bytes === 'number' ? bytes : null,
        dimensions: typeof width === 'number' && typeof height === 'number' ? `${width} x ${height}` : null,
      });
    for (const [property, each] of Object.entries(value)) walk(each, Array.isArray(value) ? name : property, depth + 1);
  };
  walk(result, 'result', 0);
  return [...found.values()];
}

/** `jobs/ID/media/N`: the Nth file of a job's result. A key that a result does not name cannot be asked for. */
export function mediaRoute(http: Http, { app, db }: House): void {
  http.get('/jobs/:id{[0-9]{1,18}}/media/:n{[0-9]{1,2}}', async (context) => {
    if (app.config.dashboard.hidePayloads) return context.notFound();
    const job = await showJob(db, Number(context.req.param('id')));
    const medium = job?.status === 'completed' ? mediaOf(job.result)[Number(context.req.param('n'))] : undefined;
    if (!medium) return context.notFound();
    const { signal } = context.req.raw;
    const stored = await app.storage.head(medium.key, { signal });
    if (!stored) return context.notFound();
    const { bytes, modified_at } = stored;
    const range = rangeOf(context.req.header('range'), bytes);
    if (range === 'outside') return context.body(null, 416, { 'content-range': `bytes */${bytes}` });
    const headers = {
      'content-type': contentTypeOf(medium.key),
      'content-length': String(range ? range.end - range.start + 1 : bytes),
      'content-security-policy': "default-src 'none'; sandbox",
      'cache-control': 'private, max-age=300',
      'accept-ranges': 'bytes',
      'last-modified': modified_at.toUTCString(),
      ...(range ? { 'content-range': `bytes ${range.start}-${range.end}/${bytes}` } : {}),
    };
    const status = range ? 206 : 200;
    if (context.req.method === 'HEAD') return context.body(null, status, headers);
    const body = Readable.toWeb(await app.storage.get(medium.key, { signal, range })) as ReadableStream;
    return context.body(body, status, headers);
  });
}

/**
 * The part that a player asks for. Several parts, and what is no range, are answered with the whole.
 * https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export function rangeOf(header: string | undefined, bytes: number): ByteRange | 'outside' | undefined {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? [];
  if (from === undefined || to === undefined || (from === '' && to === '')) return undefined;
  const [start, end] =
    from === '' ? [Math.max(0, bytes - Number(to)), bytes - 1] : [Number(from), to === '' ? bytes - 1 : Number(to)];
  if (from !== '' && to !== '' && end < start) return undefined;
  if (start >= bytes || (from === '' && Number(to) === 0)) return 'outside';
  return { start, end: Math.min(end, bytes - 1) };
}

/** A section of the page of a job. @param src where the Nth file is */
export function mediaSection(media: Medium[], src: (n: number) => string): Markup {
  if (media.length === 0) return html``;
  return html`<section class="sheet" aria-labelledby="media">
    <h2><span id="media">What it made</span> <small>${count(media.length, 'file')}</small></h2>
    <div class="media">
      ${media.map(
        (medium, n) =>
          html`<figure>
            ${element(medium, src(n))}
            <figcaption>
              <b>${medium.name}</b>
              <span class="soft">
                ${[medium.dimensions, medium.bytes === null ? null : size(medium.bytes)].filter(Boolean).join(' · ')}
              </span>
            </figcaption>
          </figure>`,
      )}
    </div>
  </section>`;
}

function element({ shown, name, key }: Medium, src: string): Markup {
  const file = key.split('/').at(-1) ?? key;
  if (shown === 'picture')
    return html`<a class="plain" href="${src}"><img src="${src}" alt="${name}: ${file}" loading="lazy" /></a>`;
  if (shown === 'video')
    return html`<video src="${src}" controls preload="none" aria-label="${name}: ${file}"></video>`;
  return html`<audio src="${src}" controls preload="none" aria-label="${name}: ${file}"></audio>`;
}
