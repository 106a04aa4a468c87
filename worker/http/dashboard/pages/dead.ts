import { html } from 'hono/html';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { count, empty, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { livePart, page, type Markup } from '../layout.ts';
import { quotedWord } from '../search.ts';

const sql = loadStatements(import.meta.dirname, 'dead.sql', ['dead_groups']);

type Group = {
  queue: string;
  kind: string;
  error_code: string | null;
  jobs: number;
  first_at: Date | null;
  last_at: Date | null;
  sample: string | null;
  cause: string | null;
  solution: string | null;
};

const mostGroups = 200;

/** `dead`: dead letters by kind and error, with what mends them. */
export function deadPage(http: Http, { db, live }: House): void {
  const groups = async (operator: boolean) =>
    list(await query<Group>(db, sql.dead_groups, { most: mostGroups + 1 }), operator);

  http.get('/dead', async (context) => {
    const body = livePart(context, 'live/dead', await groups(context.get('user').operator));
    return page(context, { title: 'Dead letters', current: 'dead', body });
  });
  http.get('/live/dead', (context) => {
    const { operator } = context.get('user');
    return live.stream(JSON.stringify(['dead', operator]), () => groups(operator), context.req.raw.signal);
  });
}

function list(groups: Group[], operator: boolean): Markup {
  if (groups.length === 0)
    return html`<section class="sheet trouble calm">
      ${empty('No dead letters: every job succeeded, or will be tried again.', 'select * from dead_letters;')}
    </section>`;
  const jobs = groups.reduce((sum, group) => sum + group.jobs, 0);
  return html`<section class="sheet trouble">
    <div class="head">
      <h1 class="sr">Dead letters</h1>
      <h2>${count(jobs, 'dead letter')} <small>the latest first</small></h2>
    </div>
    <ul>
      ${groups.slice(0, mostGroups).map((group) => item(group, operator))}
    </ul>
    ${groups.length > mostGroups ? html`<p class="foot">More groups: <code>select * from dead_letters</code></p>` : ''}
  </section>`;
}

function item(
  { queue, kind, error_code, jobs, first_at, last_at, sample, cause, solution }: Group,
  operator: boolean,
): Markup {
  const of = `queue:${queue} kind:${quotedWord(kind)} state:failed`;
  const q = error_code ? `${of} error:${quotedWord(error_code)}` : of;
  const name = `${queue}.${kind.slice(0, 80)} ${error_code ?? ''}`;
  const look = `jobs?${new URLSearchParams({ q }).toString()}`;
  const retry = `jobs/confirm?${new URLSearchParams({ q, all: '1', action: 'retry' }).toString()}`;
  return html`<li>
    <div>
      <b>${number(jobs)}</b> of <a class="name" href="${look}">${queue}.${kind.slice(0, 80)}</a> ·
      <span class="bad">${error_code ?? 'no error code'}</span>
      <span class="soft">${sample ? html`· ${sample}` : ''}</span>
    </div>
    <div class="do">
      <a class="button" href="${look}" aria-label="Look at ${name}">Look</a>
      ${
        operator
          ? html`<a class="button main" href="${retry}" aria-label="Retry ${number(jobs)} of ${name}"
              >Retry ${number(jobs)}</a
            >`
          : ''
      }
    </div>
    <div class="mend">
      ${cause ? html`${cause} ` : ''}${solution ?? ''}
      <div>last ${time(last_at)}${jobs > 1 ? html`, first ${time(first_at)}` : ''}</div>
    </div>
  </li>`;
}
