import type { Context } from 'hono';
import { html } from 'hono/html';
import { UsageError } from '../../../base/errors.ts';
import {
  beginAction,
  bulkActions,
  isBulkAction,
  readAction,
  searchFor,
  setActionState,
  type Action,
  type BulkAction,
} from '../../../queue/client/actions.ts';
import { parseSearch } from '../../../queue/client/search-words.ts';
import { countJobs } from '../../../queue/client/search.ts';
import { operatorOf, type Env } from '../access.ts';
import { acted, fieldOf, idOf, priorityOf, timeOf } from '../act.ts';
import { count, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';
import { checkSearch } from '../search.ts';

const mostCounted = 10_000_000;
const countMs = 4_000;

/** `jobs/confirm`: how many jobs are meant. `actions/17`: how far an action on many jobs is. */
export function manyPages(http: Http, house: House): void {
  const { db, live } = house;

  http.get('/jobs/confirm', async (context) => {
    operatorOf(context);
    const action = actionOf(context.req.query('action'));
    const subject = subjectOf(context);
    checkSearch(parseSearch(subject), house);
    const counted = await countJobs(db, searchFor(action, subject, new Date()), { most: mostCounted, ms: countMs });
    const body = confirmation(context, action, subject, counted?.jobs ?? null);
    return page(context, { title: words[action].title, current: 'jobs', body });
  });

  http.post('/jobs/act', async (context) => {
    const { name: who } = operatorOf(context);
    const action = actionOf(await fieldOf(context, 'action'));
    const form = await context.req.parseBody();
    const { subject, jobs: counted } = form;
    // Empty: all jobs. A form without it is none of ours.
    if (typeof subject !== 'string') throw new UsageError('The form lacks subject');
    checkSearch(parseSearch(subject), house);
    const jobs = idOf(typeof counted === 'string' ? counted : undefined) ?? null;
    const settings =
      action === 'reschedule'
        ? { run_at: timeOf(await fieldOf(context, 'run_at')) }
        : action === 'priority'
          ? { priority: priorityOf(await fieldOf(context, 'priority')) }
          : {};
    const id = await beginAction(db, { who, action, subject, settings, jobs });
    return context.redirect(linkTo(context, `actions/${id}`), 303);
  });

  http.get('/actions/:id{[0-9]+}', async (context) => {
    const action = await read(house, context.req.param('id'));
    const operator = context.get('user').operator;
    const body = html`${livePart(context, `live/actions/${action.id}`, report(action, operator))}`;
    return page(context, { title: `${action.action} by ${action.who}`, current: 'jobs', body });
  });

  http.get('/live/actions/:id{[0-9]+}', (context) => {
    const [id, operator] = [context.req.param('id'), context.get('user').operator];
    const render = async () => report(await read(house, id), operator);
    return live.stream(JSON.stringify(['action', id, operator]), render, context.req.raw.signal);
  });

  for (const [path, state] of [
    ['stop', 'stopped'],
    ['resume', 'running'],
  ] as const)
    http.post(`/actions/:id{[0-9]+}/${path}`, async (context) => {
      operatorOf(context);
      const { id, who, action } = await read(house, context.req.param('id'));
      if (!(await setActionState(db, id, state))) throw new UsageError(`Action ${id} has ended`);
      const words = `Action ${id}, ${action} by ${who}, is ${state}`;
      return acted(context, db, { action: path, subject: `action ${id}`, many: 1 }, `actions/${id}`, words);
    });
}

const words: Record<BulkAction, { title: string; does: string; button: string }> = {
  retry: { title: 'Retry jobs', does: 'They run again now, with all their retries.', button: 'Retry' },
  cancel: { title: 'Cancel jobs', does: 'They end as cancelled. Those that run are stopped.', button: 'Cancel' },
  reschedule: { title: 'Reschedule jobs', does: 'They become due at this time.', button: 'Reschedule' },
  priority: { title: 'Set the priority of jobs', does: 'Smaller starts first.', button: 'Set the priority of' },
};

function actionOf(name: string | undefined): BulkAction {
  if (name !== undefined && isBulkAction(name)) return name;
  throw new UsageError(`Choose one of ${Object.keys(bulkActions).join(', ')}`);
}

/** All that match, or those whose boxes are checked. */
function subjectOf(context: Context<Env>): string {
  const q = (context.req.query('q') ?? '').trim();
  if (context.req.query('all') === '1') return q;
  const ids = (context.req.queries('ids') ?? []).filter((id) => idOf(id) !== undefined).slice(0, 200);
  if (ids.length === 0) throw new UsageError('Select jobs first, or all that match');
  return `id:${ids.join(',')}`;
}

async function read({ db }: House, id: string): Promise<Action> {
  const action = await readAction(db, idOf(id) ?? 0);
  if (!action) throw new UsageError(`There is no action ${id}`);
  return action;
}

function confirmation(context: Context<Env>, action: BulkAction, subject: string, jobs: number | null): Markup {
  const { title, does, button } = words[action];
  const { allowed, usual } = bulkActions[action];
  const states = parseSearch(subject).ids ? allowed : usual;
  const many = jobs === null ? 'all that match' : count(jobs, 'job');
  return html`<section class="sheet">
    <h2>${title}</h2>
    <form method="post" action="act">
      <input type="hidden" name="action" value="${action}" />
      <input type="hidden" name="subject" value="${subject}" />
      ${jobs === null ? '' : html`<input type="hidden" name="jobs" value="${jobs}" />`}
      <dl class="facts">
        <dt>jobs</dt>
        <dd>
          <b>${jobs === null ? 'Too many to count in 4 s' : number(jobs)}</b> now
          <span class="soft">(${states.join(', ')}, unless the search names states)</span>
        </dd>
        <dt>search</dt>
        <dd class="mono">${subject || 'all jobs'}</dd>
        <dt>effect</dt>
        <dd>${does}</dd>
      </dl>
      ${
        action === 'reschedule'
          ? html`<div class="form">
              <label for="run_at">Due (UTC)</label
              ><span
                ><input
                  id="run_at"
                  name="run_at"
                  type="datetime-local"
                  step="1"
                  required
                  value="${new Date().toISOString().slice(0, 19)}"
              /></span>
            </div>`
          : ''
      }
      ${
        action === 'priority'
          ? html`<div class="form">
              <label for="priority">Priority</label
              ><span
                ><input id="priority" name="priority" type="number" min="-32768" max="32767" value="0" required
              /></span>
            </div>`
          : ''
      }
      <div class="pad row">
        <button class="main" ${jobs === 0 ? 'disabled' : ''}>${button} ${many}</button>
        <a class="button" href="${linkTo(context, 'jobs')}?${new URLSearchParams({ q: subject }).toString()}"
          >Show them</a
        >
      </div>
    </form>
  </section>`;
}

const bar = (percent: number): Markup =>
  html`<div class="pad">
    <progress class="all" max="100" value="${percent}" aria-label="Progress"></progress>
  </div>`;

function report(
  { id, who, at, action, subject, state, jobs, changed, outcome, step_at, ended_at }: Action,
  operator: boolean,
): Markup {
  const button = (path: string, label: string) =>
    operator ? html`<form method="post" action="${id}/${path}"><button>${label}</button></form>` : '';
  const share = jobs ? Math.min(100, Math.floor((changed / jobs) * 100)) : undefined;
  return html`<section class="sheet">
    <div class="head">
      <h2>${action} <small>by ${who}, ${time(at)}</small></h2>
      ${state === 'running' ? button('stop', 'Stop') : state === 'done' ? '' : button('resume', 'Resume')}
    </div>
    <dl class="facts">
      <dt>search</dt>
      <dd class="mono">${subject || 'all jobs'}</dd>
      <dt>state</dt>
      <dd>
        <b role="status">${state}</b>
        <span class="soft">${state === 'running' ? html`the last step ${time(step_at)}` : time(ended_at)}</span>
      </dd>
      <dt>changed</dt>
      <dd>${number(changed)}${jobs === null ? '' : ` of ${number(jobs)}`}</dd>
      ${
        outcome
          ? html`<dt>outcome</dt>
              <dd>${outcome}</dd>`
          : ''
      }
    </dl>
    ${state === 'running' && share !== undefined ? bar(share) : ''}
    <p class="foot"><span>It goes on without this page, also if this process dies.</span><a href="../jobs">Jobs</a></p>
  </section>`;
}
