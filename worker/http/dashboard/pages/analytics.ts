import { html } from 'hono/html';
import { HTTPException } from 'hono/http-exception';
import { loadStatements, query } from '../../../base/db/sql.ts';
import { empty, number } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';
import { plot } from '../plots.ts';

const sql = loadStatements(import.meta.dirname, 'analytics.sql', ['accounts', 'account', 'metrics_of', 'days_of']);

const periods = [7, 28, 56, 91];
const usual = 28;

/** `analytics`: accounts, and what they had in a period. `analytics/3`: days of one, beside those before. */
export function analyticsPage(http: Http, { db }: House): void {
  http.get('/analytics', async (context) => {
    const days = daysOf(context.req.query('days'));
    const all = await query<Account>(db, sql.accounts, { days });
    const body = accounts(all, days, (path) => linkTo(context, path));
    return page(context, { title: 'Analytics', current: 'analytics', body });
  });

  http.get('/analytics/:id{[0-9]{1,15}}', async (context) => {
    const id = Number(context.req.param('id'));
    const [account] = await query<One>(db, sql.account, { id });
    if (!account) throw new HTTPException(404, { message: 'There is no such account' });
    const metrics = (await query<{ metric: string }>(db, sql.metrics_of, { id })).map(({ metric }) => metric);
    const asked = context.req.query('metric') ?? 'views';
    const metric = metrics.includes(asked) ? asked : (metrics[0] ?? 'views');
    const days = daysOf(context.req.query('days'));
    const values = await query<Day>(db, sql.days_of, { id, metric, days });
    const body = one(account, { metrics, metric, days, values, to: (path) => linkTo(context, path) });
    return page(context, { title: `${account.name} · Analytics`, current: 'analytics', body, plots: true });
  });
}

const daysOf = (given: string | undefined) => periods.find((days) => String(days) === given) ?? usual;

type Account = {
  id: number;
  platform: string;
  name: string;
  value: number | null;
  before: number | null;
  known: number;
};
type One = Pick<Account, 'id' | 'platform' | 'name'> & { time_zone: string; final_days: number };
type Day = {
  at: number;
  value: number | null;
  before: number | null;
  expected: number | null;
  z: number | null;
  change: number | null;
};
type To = (path: string) => string;

const choice = (days: number, link: (days: number) => string): Markup =>
  html`<p class="foot">
    ${periods.map((each) =>
      each === days ? html`<b>${each} days</b> ` : html`<a href="${link(each)}">${each} days</a> `,
    )}
  </p>`;

/** `+12 %`: of the period before, if both are known. */
function changeOf(value: number | null, before: number | null): string {
  if (value === null || before === null || before === 0) return '–';
  const percent = Math.round((value / before - 1) * 100);
  return `${percent > 0 ? '+' : ''}${percent} %`;
}

const told = (value: number | null) => (value === null ? 'unknown' : number(value));

function accounts(all: Account[], days: number, to: To): Markup {
  if (all.length === 0)
    return empty(
      'Nothing was collected yet. Connect accounts (rowmill account connect), and switch the schedules on:',
      `update schedules set enabled = true where queue = 'analytics'`,
    );
  return html`<h1 class="sr">Analytics</h1>
    <section class="sheet" aria-labelledby="accounts">
      <h2><span id="accounts">Views of the last ${days} final days</span> <small>and of the ${days} before</small></h2>
      ${choice(days, (each) => to(`analytics?days=${each}`))}
      <div class="wide" tabindex="0">
        <table>
          <thead>
            <tr>
              <th>Account</th>
              <th>Platform</th>
              <th class="num">Views</th>
              <th class="num">Before</th>
              <th class="num">Change</th>
              <th class="num">Days known</th>
            </tr>
          </thead>
          <tbody>
            ${all.map(
              ({ id, platform, name, value, before, known }) =>
                html`<tr>
                  <td class="wrap"><a href="${to(`analytics/${id}?days=${days}`)}">${name}</a></td>
                  <td>${platform}</td>
                  <td class="num">${told(value)}</td>
                  <td class="num">${told(before)}</td>
                  <td class="num">${changeOf(value, before)}</td>
                  <td class="num">${known} of ${days}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    </section>`;
}

type Chosen = { metrics: string[]; metric: string; days: number; values: Day[]; to: To };

function one(
  { id, platform, name, time_zone, final_days }: One,
  { metrics, metric, days, values, to }: Chosen,
): Markup {
  const strange = values.filter(({ z }) => z !== null);
  const sum = (key: 'value' | 'before') =>
    values.some((day) => day[key] !== null) ? values.reduce((all, day) => all + (day[key] ?? 0), 0) : null;
  return html`<section class="sheet pad" aria-labelledby="account">
      <h1 id="account">${name} <small class="soft">${platform}</small></h1>
      <p>
        ${metrics.map((each) =>
          each === metric
            ? html`<b>${each}</b> `
            : html`<a href="${to(`analytics/${id}?metric=${each}&days=${days}`)}">${each}</a> `,
        )}
      </p>
      ${choice(days, (each) => to(`analytics/${id}?metric=${metric}&days=${each}`))}
      <p class="soft">
        Days of ${time_zone}. Platforms correct figures: the last ${final_days} days are not final. Unknown days are
        gaps.
      </p>
    </section>
    ${plot({
      id: 'days',
      title: `${metric}, day by day`,
      unit: 'count',
      at: values.map(({ at }) => at),
      series: [
        { name: `these ${days} days`, values: values.map(({ value }) => value), tone: 'stroke' },
        { name: `the ${days} before`, values: values.map(({ before }) => before), tone: 'late' },
        {
          name: 'stands out',
          values: values.map(({ z, value }) => (z === null ? null : value)),
          tone: 'errors',
          marks: true,
        },
      ],
      note: html`${told(sum('value'))}, and ${told(sum('before'))} before (${changeOf(sum('value'), sum('before'))})`,
    })}
    ${outstanding(strange)}`;
}

const percentOf = (change: number | null) =>
  `${change !== null && change > 0 ? '+' : ''}${Math.round((change ?? 0) * 100)} %`;

const outstanding = (strange: Day[]): Markup =>
  strange.length === 0
    ? empty('No day stands out. How days are judged:', 'select day, metric, value, expected, z, change from anomalies')
    : html`<section class="sheet" aria-labelledby="strange">
        <h2><span id="strange">Days that stand out</span> <small>${number(strange.length)}</small></h2>
        <div class="wide" tabindex="0">
          <table>
            <thead>
              <tr>
                <th>Day</th>
                <th class="num">Value</th>
                <th class="num">Expected</th>
                <th class="num">Change</th>
                <th class="num">z</th>
              </tr>
            </thead>
            <tbody>
              ${strange.map(
                ({ at, value, expected, change, z }) =>
                  html`<tr>
                    <td>${new Date(at * 1_000).toISOString().slice(0, 10)}</td>
                    <td class="num">${told(value)}</td>
                    <td class="num">${number(Math.round(expected ?? 0))}</td>
                    <td class="num">${percentOf(change)}</td>
                    <td class="num">${(z ?? 0).toFixed(1)}</td>
                  </tr>`,
              )}
            </tbody>
          </table>
        </div>
      </section>`;
