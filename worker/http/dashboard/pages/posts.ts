import { html } from 'hono/html';
import { HTTPException } from 'hono/http-exception';
import type { Db } from '../../../base/db/db.ts';
import { calendarOf, listPosts, showPost, type ListedPost, type ShownPost } from '../../../jobs/social/post/operate.ts';
import { empty, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';

const dayMs = 86_400_000;
const weeks = 5;

/** `posts`: a calendar of what is and was due on social platforms. `posts/7`: the way of one. */
export function postsPage(http: Http, { app, db }: House): void {
  const hidden = app.config.dashboard.hidePayloads;
  http.get('/posts', async (context) => {
    const to = (path: string) => linkTo(context, path);
    const first = firstDay(context.req.query('from'));
    const body = await calendar(db, first, { to, hidden });
    return page(context, { title: 'Posts', current: 'posts', body });
  });
  http.get('/posts/:id{[0-9]{1,15}}', async (context) => {
    const post = await showPost(db, Number(context.req.param('id')));
    if (!post) throw new HTTPException(404, { message: 'There is no such post' });
    const body = one(post, { to: (path: string) => linkTo(context, path), hidden });
    return page(context, { title: `Post ${post.id}`, current: 'posts', body });
  });
}

type Shown = { to: (path: string) => string; hidden: boolean };

/** The Monday of a day, or of a week ago. */
function firstDay(given: string | undefined): Date {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(given ?? '') ? Date.parse(given!) : Date.now() - 7 * dayMs;
  const midnight = Math.floor((Number.isNaN(day) ? Date.now() : day) / dayMs);
  // 1 January 1970 was a Thursday.
  return new Date((midnight - ((midnight + 3) % 7)) * dayMs);
}

const dayOf = (date: Date) => date.toISOString().slice(0, 10);

async function calendar(db: Db, first: Date, shown: Shown): Promise<Markup> {
  const days = Array.from({ length: 7 * weeks }, (_, n) => new Date(+first + n * dayMs));
  const posts = await calendarOf(db, first, new Date(+first + 7 * weeks * dayMs));
  const byDay = Map.groupBy(posts, ({ scheduled_at }) => dayOf(scheduled_at));
  const beside = (n: number) => shown.to(`posts?from=${dayOf(new Date(+first + n * weeks * 7 * dayMs))}`);
  return html`<h1 class="sr">Posts</h1>
    ${await needed(db, shown)}
    <section class="sheet" aria-labelledby="calendar">
      <h2><span id="calendar">Calendar</span> <small>${number(posts.length)} due from ${dayOf(first)} (UTC)</small></h2>
      <p class="foot"><a href="${beside(-1)}">Earlier</a> <a href="${beside(1)}">Later</a></p>
      <div class="wide" tabindex="0">
        <table>
          <thead>
            <tr>
              ${['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'].map((name) => html`<th>${name}</th>`)}
            </tr>
          </thead>
          <tbody>
            ${Array.from(
              { length: weeks },
              (_, week) =>
                html`<tr>
                  ${days.slice(7 * week, 7 * week + 7).map((day) => cell(day, byDay.get(dayOf(day)) ?? [], shown))}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
}

const mostOfDay = 8;

const cell = (day: Date, posts: ListedPost[], shown: Shown): Markup =>
  html`<td class="wrap list">
    <small class="soft">${dayOf(day).slice(5)}</small>
    ${posts.slice(0, mostOfDay).map(
      (post) =>
        html`<div>
          ${post.scheduled_at.toISOString().slice(11, 16)}
          <a href="${shown.to(`posts/${post.id}`)}">${nameOf(post, shown)}</a>
          <span class="soft">${post.status}</span>
        </div>`,
    )}
    ${posts.length > mostOfDay ? html`<small>and ${number(posts.length - mostOfDay)} more</small>` : ''}
  </td>`;

const nameOf = ({ id, platform, title }: Pick<ListedPost, 'id' | 'platform' | 'title'>, { hidden }: Shown) =>
  `${platform ?? 'post'} ${hidden || !title ? id : title.slice(0, 24)}`;

/** What a person must look at. */
async function needed(db: Db, shown: Shown): Promise<Markup> {
  const posts = await listPosts(db, { status: 'unconfirmed', limit: 20 });
  if (posts.length === 0) return html``;
  return html`<section class="sheet trouble" aria-labelledby="needed">
    <h2><span id="needed">Nobody knows whether these were published</span> <small>${number(posts.length)}</small></h2>
    <ul>
      ${posts.map(
        (post) =>
          html`<li>
            <div><a href="${shown.to(`posts/${post.id}`)}">${nameOf(post, shown)}</a></div>
            <div class="mend">Look at the account. Then <code>rowmill post resolve ${post.id}</code></div>
          </li>`,
      )}
    </ul>
  </section>`;
}

function one(post: ShownPost, shown: Shown): Markup {
  const { id, platform, account_id, status, url, reason, error_code, error, scheduled_at, job_id } = post;
  const content = post.content as { title?: string; description?: string };
  const title = nameOf({ id, platform, title: content.title ?? content.description ?? null }, shown);
  return html`<section class="sheet pad" aria-labelledby="post">
      <h1 id="post">${title}</h1>
      <p>
        <b>${status}</b> · account ${account_id ?? '–'} · due ${time(scheduled_at)} ·
        ${job_id === null ? 'no job' : html`<a href="${shown.to(`jobs/${job_id}`)}">job ${job_id}</a>`}
      </p>
      ${url && /^https?:/.test(url) ? html`<p><a href="${url}" rel="noreferrer noopener">${url}</a></p>` : ''}
      ${reason ? html`<p>It waits: ${reason}</p>` : ''}
      ${error_code ? html`<p class="wrap"><code>${error_code}</code> ${error ?? ''}</p>` : ''}
      ${
        status === 'unconfirmed'
          ? html`<p class="mend">
              Look at the account. Then <code>rowmill post resolve ${id} --published URL</code>, or
              <code>--not-published</code>
            </p>`
          : ''
      }
    </section>
    ${steps(post)} ${attempts(post)}`;
}

const steps = ({ steps: all }: ShownPost): Markup =>
  list(
    'steps',
    'Its way',
    ['When', 'Step', 'State', 'What it waits for'],
    all.map(({ at, step, status, reason }) => [time(at), step, status, reason ?? '']),
  );

function attempts({ attempts: all }: ShownPost): Markup {
  if (all.length === 0)
    return empty(
      'Nothing was sent yet that makes it public.',
      'select * from social_attempts order by id desc limit 10',
    );
  return list(
    'attempts',
    'Sent to be published',
    ['When', 'What became of it', 'Error', 'Said by'],
    all.map(({ sent_at, status, error, resolved_by }) => [time(sent_at), status, error ?? '', resolved_by ?? '']),
  );
}

const list = (id: string, title: string, heads: string[], rows: (Markup | string)[][]): Markup =>
  html`<section class="sheet" aria-labelledby="${id}">
    <h2><span id="${id}">${title}</span></h2>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            ${heads.map((head) => html`<th>${head}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            (cells) =>
              html`<tr>
                ${cells.map((each) => html`<td class="wrap">${each}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
