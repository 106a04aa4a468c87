import type { Context } from 'hono';
import { html } from 'hono/html';
import type { Db } from '../../../base/db/db.ts';
import { UsageError } from '../../../base/errors.ts';
import { listAlerts, silenceAlerts, unsilenceAlerts, type Alert } from '../../../queue/client/alerts.ts';
import { acted, fieldOf } from '../act.ts';
import { operatorOf, type Env } from '../access.ts';
import { count, empty, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';
import { button, type Way } from '../trouble.ts';

/** For how long an alert may be silenced, in seconds. */
const spans: [seconds: number, words: string][] = [
  [3_600, '1 hour'],
  [28_800, '8 hours'],
  [86_400, '1 day'],
  [604_800, '1 week'],
];

/** `alerts`: what people were told of, and what they were not to be told of. */
export function alertsPage(http: Http, { db, live }: House): void {
  http.get('/alerts', async (context) => {
    const way: Way = { to: (path) => linkTo(context, path), operator: context.get('user').operator };
    const part = `alerts/live${way.operator ? '' : '?read'}`;
    const body = livePart(context, part, await alerts(db, way));
    return page(context, { title: 'Alerts', current: 'alerts', body });
  });

  http.get('/alerts/live', (context) => {
    const operator = context.get('user').operator && context.req.query('read') === undefined;
    const render = async () => alerts(db, { to: (path) => path, operator });
    return live.stream(`alerts ${operator}`, render, context.req.raw.signal);
  });

  http.post('/alerts/silence', async (context) => {
    const { name: by } = operatorOf(context);
    const id = await idOf(context);
    const seconds = Number(await fieldOf(context, 'seconds'));
    if (!spans.some(([span]) => span === seconds)) throw new UsageError('An alert is silenced for up to a week');
    const [done] = await silenceAlerts(db, [id], { seconds, by });
    const what = { action: 'silence_alert', subject: done?.what ?? String(id), many: done ? 1 : 0 };
    return acted(context, db, what, 'alerts', done ? `Silenced: ${done.what}` : 'This alert is not open any more');
  });

  http.post('/alerts/unsilence', async (context) => {
    operatorOf(context);
    const id = await idOf(context);
    const [done] = await unsilenceAlerts(db, [id]);
    const what = { action: 'unsilence_alert', subject: done?.what ?? String(id), many: done ? 1 : 0 };
    return acted(context, db, what, 'alerts', done ? `People are told again of: ${done.what}` : 'This alert is over');
  });
}

async function idOf(context: Context<Env>): Promise<number> {
  const id = Number(await fieldOf(context, 'id'));
  if (Number.isSafeInteger(id)) return id;
  throw new UsageError('There is no such alert');
}

async function alerts(db: Db, way: Way): Promise<Markup> {
  const all = await listAlerts(db, { resolved: true, limit: 100 });
  const open = all.filter(({ resolved_at }) => resolved_at === null);
  const passed = all.filter(({ resolved_at }) => resolved_at !== null);
  return html`<h1 class="sr">Alerts</h1>
    <section class="sheet ${open.length > 0 ? 'trouble' : ''}" aria-labelledby="open">
      <h2><span id="open">Open alerts</span> <small>${number(open.length)}</small></h2>
      ${
        open.length === 0
          ? empty(
              'No alert is open. What opens one, and its bounds, are rows:',
              'select condition, enabled, patience, minimum, means from alert_rules',
            )
          : html`<ul>
              ${open.map((alert) => item(alert, way))}
            </ul>`
      }
    </section>
    ${passed.length === 0 ? '' : history(passed)}`;
}

function item(alert: Alert, way: Way): Markup {
  const { what, opened_at, messages, last_sent_at, silenced_until, silenced_by, cause, solution, query } = alert;
  return html`<li>
    <div>
      <b>${what}</b>
      <span class="soft">
        · opened ${time(opened_at)} ·
        ${
          silenced_until
            ? html`silenced until ${time(silenced_until)}${silenced_by === null ? '' : ` by ${silenced_by}`}`
            : messages === 0
              ? 'nobody was told yet'
              : html`told ${count(messages, 'time')}, the last ${time(last_sent_at)}`
        }
      </span>
    </div>
    <div class="do">${silencing(alert, way)}</div>
    <div class="mend">
      ${cause ?? ''} ${solution}
      <pre class="query" tabindex="0"><code>${query}</code></pre>
    </div>
  </li>`;
}

function silencing({ id, what, silenced_until }: Alert, way: Way): Markup {
  if (!way.operator) return html``;
  if (silenced_until) return button(way, 'alerts/unsilence', 'Tell again', { id: String(id) });
  return html`<form class="row" method="post" action="${way.to('alerts/silence')}">
    <input type="hidden" name="id" value="${id}" />
    <select name="seconds" aria-label="Silence for how long: ${what}">
      ${spans.map(([seconds, words]) => html`<option value="${seconds}">${words}</option>`)}
    </select>
    <button>Silence</button>
  </form>`;
}

const history = (passed: Alert[]) =>
  html`<section class="sheet" aria-labelledby="passed">
    <h2><span id="passed">Passed</span></h2>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            <th>Alert</th>
            <th class="num">Opened</th>
            <th class="num">Resolved</th>
            <th class="num">Told</th>
          </tr>
        </thead>
        <tbody>
          ${passed.map(
            ({ what, opened_at, resolved_at, messages }) =>
              html`<tr>
                <td class="wrap">${what}</td>
                <td class="num soft">${time(opened_at)}</td>
                <td class="num soft">${time(resolved_at)}</td>
                <td class="num">${number(messages)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
