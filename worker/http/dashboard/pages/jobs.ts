import type { Context } from 'hono';
import { html } from 'hono/html';
import { UsageError } from '../../../base/errors.ts';
import type { Db } from '../../../base/db/db.ts';
import { parseSearch, SearchError, searchHelp, type Search } from '../../../queue/client/search-words.ts';
import { searchSql } from '../../../queue/client/search-sql.ts';
import { countJobs, searchJobs, type Found } from '../../../queue/client/search.ts';
import type { Env } from '../access.ts';
import { idOf } from '../act.ts';
import { elapsed, empty, number, state, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';
import { checkSearch } from '../search.ts';

const onPage = 50;
/** More are not counted for the heading. */
const mostCounted = 100_000;
const countMs = 250;
/** A search that takes longer is made when the page is loaded, and not every two seconds. */
const liveMs = 1_000;

type Asked = { q: string; search: Search; below: number | undefined; operator: boolean };

/** `jobs?q=...`: finds jobs, and offers what can be done with them. */
export function jobsPage(http: Http, house: House): void {
  const { db, live } = house;
  const asked = (context: Context<Env>): Asked => {
    const q = (context.req.query('q') ?? '').trim();
    const search = checkSearch(parseSearch(q), house);
    return { q, search, below: idOf(context.req.query('below')), operator: context.get('user').operator };
  };

  http.get('/jobs', async (context) => {
    const q = context.req.query('q') ?? '';
    const began = performance.now();
    const made = await made422(() => list(db, asked(context)));
    if (made.fault !== undefined) context.status(422);
    const quick = performance.now() - began < liveMs;
    const stream = `live/jobs?${new URLSearchParams(context.req.query()).toString()}`;
    const results = made.fault ?? (quick ? livePart(context, stream, made.list) : made.list);
    return page(context, {
      title: q ? `Jobs: ${q.slice(0, 80)}` : 'Jobs',
      current: 'jobs',
      body: whole(context, q, results, made.fault === undefined ? searchSql(parseSearch(q)) : undefined),
    });
  });

  http.get('/live/jobs', (context) => {
    const what = asked(context);
    const key = JSON.stringify(['jobs', what.q, what.below, what.operator]);
    // The search anew: `since:2h` goes on.
    return live.stream(key, () => list(db, { ...what, search: parseSearch(what.q) }), context.req.raw.signal);
  });
}

/** A search with a fault is shown with the fault. */
async function made422(
  make: () => Promise<Markup>,
): Promise<{ list: Markup; fault?: undefined } | { fault: Markup; list?: undefined }> {
  try {
    return { list: await make() };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const mark =
      error instanceof SearchError
        ? html`<pre aria-hidden="true">${' '.repeat(Math.min(error.position - 1, 200))}^</pre>`
        : '';
    return { fault: html`<div class="fault" role="alert">${error.message}${mark}</div>` };
  }
}

function whole(context: Context<Env>, q: string, results: Markup, sql: string | undefined): Markup {
  return html`<h1 class="sr">Jobs</h1>
    <section class="sheet" aria-label="Search">
      <form class="search" method="get" action="${linkTo(context, 'jobs')}" role="search">
        <input
          type="search"
          name="q"
          value="${q}"
          aria-label="Search jobs"
          placeholder="queue:media state:failed since:2h"
          autocomplete="off"
          autocapitalize="off"
          spellcheck="false"
          maxlength="4000"
        />
        <button class="main">Search</button>
        <span class="soft hide"><kbd>/</kbd></span>
      </form>
      <details>
        <summary>What can be searched</summary>
        <dl class="help">
          ${searchHelp.map(
            ([word, what]) =>
              html`<dt>${word}</dt>
                <dd>${what}</dd>`,
          )}
        </dl>
        ${
          sql === undefined
            ? ''
            : html`<div class="head">
                  <h2>This search in SQL</h2>
                  <button type="button" data-copy="sql">Copy</button>
                </div>
                <pre class="json" id="sql" tabindex="0">${sql}</pre>`
        }
      </details>
    </section>
    ${results}`;
}

async function list(db: Db, { q, search, below, operator }: Asked): Promise<Markup> {
  const [found, counted] = await Promise.all([
    searchJobs(db, search, { below, limit: onPage + 1 }),
    countJobs(db, search, { most: mostCounted + 1, ms: countMs }),
  ]);
  const jobs = found.slice(0, onPage);
  if (jobs.length === 0) return html`<section class="sheet">${nothing(q, below)}</section>`;
  const many = !counted
    ? 'Many jobs'
    : counted.jobs > mostCounted
      ? `More than ${number(mostCounted)} jobs`
      : counted.jobs === 1
        ? '1 job'
        : `${number(counted.jobs)} jobs`;
  const next = found.length > onPage ? jobs.at(-1)!.id : undefined;
  return html`<form class="sheet" method="get" action="jobs/confirm">
    <input type="hidden" name="q" value="${q}" />
    <div class="head">
      <h2>${many}</h2>
      ${operator ? tools(many) : ''}
    </div>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            ${operator ? allBox : ''}
            <th>Job</th>
            <th>State</th>
            <th class="num hide">Attempt</th>
            <th>What</th>
            <th class="num">When</th>
          </tr>
        </thead>
        <tbody>
          ${jobs.map((job) => row(job, operator))}
        </tbody>
      </table>
    </div>
    ${pager(q, below, next)}
  </form>`;
}

const allBox = html`<th class="check">
  <input type="checkbox" data-all aria-label="Select all on this page" />
</th>`;

const box = (id: number): Markup =>
  html`<td class="check"><input type="checkbox" name="ids" value="${id}" aria-label="Select job ${id}" /></td>`;

const tools = (many: string): Markup =>
  html`<div class="row">
    <label class="soft"><input type="checkbox" name="all" value="1" /> all that match (${many.toLowerCase()})</label>
    <button name="action" value="retry" data-key="r">Retry</button>
    <button name="action" value="cancel">Cancel</button>
    <button name="action" value="reschedule" class="hide">Reschedule…</button>
    <button name="action" value="priority" class="hide">Priority…</button>
  </div>`;

function row(job: Found, operator: boolean): Markup {
  const { id, queue, kind, status, attempt, max_retries } = job;
  return html`<tr id="job-${id}">
    ${operator ? box(id) : ''}
    <td class="nowrap">
      <a class="name" href="jobs/${id}">${queue}.${kind.slice(0, 60)}</a> <span class="soft num">${id}</span>
    </td>
    <td>${state(status)}</td>
    <td class="num hide">
      ${attempt === 0 ? '–' : status === 'completed' ? attempt : `${attempt} of ${Math.max(attempt, max_retries + 1)}`}
    </td>
    <td class="what">${summary(job)}</td>
    <td class="num soft">${time(job.completed_at ?? job.started_at ?? job.created_at)}</td>
  </tr>`;
}

/** What there is to know of a job in a line. */
function summary({ status, progress, error_code, error, run_at, started_at, completed_at }: Found): Markup | string {
  const failure =
    error_code === null
      ? ''
      : html`<span class="${status === 'failed' ? 'bad' : 'soft'}">${error_code}</span>
          <span class="soft">${error}</span>`;
  switch (status) {
    case 'pending':
      return html`<span class="soft">due ${run_at.getTime() > Date.now() ? time(run_at) : ''}</span> ${failure}`;
    case 'processing':
      return progress === null
        ? html`<span class="soft">running</span>`
        : html`<progress max="100" value="${progress}" aria-label="Progress"></progress>
            <span class="soft">${progress} %</span>`;
    case 'completed':
      return started_at && completed_at
        ? html`<span class="soft">took ${elapsed(completed_at.getTime() - started_at.getTime())}</span>`
        : '';
    case 'failed':
    case 'cancelled':
      return failure;
  }
}

function pager(q: string, below: number | undefined, next: number | undefined): Markup {
  const to = (id?: number) =>
    `jobs?${new URLSearchParams({ q, ...(id === undefined ? {} : { below: String(id) }) }).toString()}`;
  if (below === undefined && next === undefined) return html``;
  return html`<div class="foot">
    ${below === undefined ? html`<span>The newest ${onPage}</span>` : html`<a href="${to()}">The newest</a>`}
    ${next === undefined ? html`<span>These are the oldest</span>` : html`<a href="${to(next)}" rel="next">Older</a>`}
  </div>`;
}

function nothing(q: string, below: number | undefined): Markup {
  if (below !== undefined) return empty('No older job matches.');
  if (q) return empty(html`No job matches. <a href="jobs">Show all</a>`);
  return empty(
    'No job was ever added. Add one:',
    `insert into media_jobs (kind, payload) values ('image', '{"s3Key": "uploads/a.jpg"}');`,
  );
}
