import { Readable } from 'node:stream';
import { html } from 'hono/html';
import { contentTypeOf } from '../../base/storage/content-type.ts';
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
    const body = Readable.toWeb(await app.storage.get(medium.key, { signal })) as ReadableStream;
    return context.body(body, 200, {
      'content-type': contentTypeOf(medium.key),
      'content-length': String(stored.bytes),
      'content-security-policy': "default-src 'none'; sandbox",
      'cache-control': 'private, max-age=300',
    });
  });
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
