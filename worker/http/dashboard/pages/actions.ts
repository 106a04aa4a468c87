import { html } from 'hono/html';
import { listActions, type Action } from '../../../queue/client/actions.ts';
import { empty, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';

const most = 100;

/** `actions`: what people did here. */
export function actionsPage(http: Http, { db }: House): void {
  http.get('/actions', async (context) => {
    const before = /^\d{1,15}$/.exec(context.req.query('before') ?? '')?.[0];
    const actions = await listActions(db, { before: before === undefined ? null : Number(before), limit: most });
    const last = actions.length === most ? actions.at(-1) : undefined;
    const body = html`<section class="sheet" aria-labelledby="actions">
      <h2><span id="actions">What people did here</span> <small>the latest first</small></h2>
      ${actions.length === 0 ? none : table(actions)}
      ${last ? html`<p class="foot"><a href="${linkTo(context, `actions?before=${last.id}`)}">Older ones</a></p>` : ''}
    </section>`;
    return page(context, { title: 'Actions', current: 'actions', body });
  });
}

const none = empty(
  'Nobody has changed anything from these pages. What SQL and the command line change is not logged here.',
  'select at, who, action, subject, outcome from operator_actions order by id desc',
);

const table = (actions: Action[]) =>
  html`<div class="wide" tabindex="0">
    <table>
      <thead>
        <tr>
          <th>Who</th>
          <th>Action</th>
          <th>To what</th>
          <th>What became of it</th>
          <th class="num">Changed</th>
          <th class="num">When</th>
        </tr>
      </thead>
      <tbody>
        ${actions.map(row)}
      </tbody>
    </table>
  </div>`;

function row({ id, after_id, who, action, subject, settings, outcome, state, changed, at }: Action): Markup {
  const given = Object.keys(settings).length === 0 ? '' : JSON.stringify(settings);
  return html`<tr>
    <td class="name">${who}</td>
    <td class="nowrap">
      ${after_id === null ? action.replaceAll('_', ' ') : html`<a class="name" href="actions/${id}">${action}</a>`}
    </td>
    <td class="wrap">${subject || 'all jobs'}${given === '' ? '' : html`<div class="mono soft">${given}</div>`}</td>
    <td class="wrap">${state === 'done' ? outcome : html`<span class="late">${state}</span> ${outcome}`}</td>
    <td class="num">${number(changed)}</td>
    <td class="num soft">${time(at)}</td>
  </tr>`;
}
