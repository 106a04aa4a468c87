import type { Context } from 'hono';
import { html } from 'hono/html';
import { cached } from '../../../base/cached.ts';
import { setPaused } from '../../../queue/client/operate.ts';
import type { FleetQueue } from '../../../queue/client/operate.ts';
import type { Throughput } from '../../../queue/client/throughput.ts';
import { patienceS, tryIncident, troubles, type Fleet } from '../../../queue/client/trouble.ts';
import { acted, fieldOf } from '../act.ts';
import { operatorOf } from '../access.ts';
import { duration, elapsed, jobsWait, number } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';
import { plot, sparkline } from '../plots.ts';
import type { Shared } from '../shared.ts';
import { button, troubleList, type Way } from '../trouble.ts';

type QueueThroughput = Throughput['queues'][number];

/** Plots follow every 20 seconds, as plots.js says. */
const plotsMs = 10_000;

/** The first page: what is wrong, what each queue holds, and how it went. Buttons pause queues and try incidents. */
export function overviewPage(http: Http, { db, shared, live }: House): void {
  const plots = {
    1: cached(plotsMs, async () => plotsOf(await shared.lately(1), 1)),
    24: cached(plotsMs, async () => plotsOf(await shared.lately(24), 24)),
  };
  const hoursOf = (context: Context) => (context.req.query('hours') === '24' ? 24 : 1);

  http.get('/', async (context) => {
    const way: Way = { to: (path) => linkTo(context, path), operator: context.get('user').operator };
    const part = `overview/live${way.operator ? '' : '?read'}`;
    const body = html`<h1 class="sr">Overview</h1>
      ${livePart(context, part, await overview(shared, way))} ${await plots[hoursOf(context)]()}`;
    return page(context, { title: 'Overview', current: '', body, plots: true });
  });

  http.get('/overview/plots', async (context) => context.html(await plots[hoursOf(context)]()));

  // Links of a part are those of the page that shows it, which is at the top.
  http.get('/overview/live', (context) => {
    const operator = context.get('user').operator && context.req.query('read') === undefined;
    const way: Way = { to: (path) => path || './', operator };
    return live.stream(`overview ${operator}`, async () => overview(shared, way), context.req.raw.signal);
  });

  for (const [verb, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const)
    http.post(`/queues/${verb}`, async (context) => {
      const user = operatorOf(context);
      const queue = await fieldOf(context, 'queue');
      const { waiting } = await setPaused(db, queue, paused, user.name);
      const words = paused ? `Queue ${queue} is paused: ${jobsWait(waiting)}` : `Queue ${queue} goes on`;
      return acted(context, db, { action: verb, subject: queue, many: 1 }, '', words);
    });

  http.post('/incidents/try', async (context) => {
    operatorOf(context);
    const found = await tryIncident(db, await fieldOf(context, 'id'));
    const subject = found?.dependency ?? 'an incident that is over';
    const words = found ? `A worker tries ${subject} now` : 'This incident is over';
    return acted(context, db, { action: 'try_incident', subject, many: found ? 1 : 0 }, '', words);
  });
}

async function overview(shared: Shared, way: Way): Promise<Markup> {
  const [fleet, lately] = await Promise.all([shared.fleet(), shared.lately(1)]);
  const last = new Map(lately.queues.map((queue) => [queue.queue, queue]));
  return html`${troubleList(troubles(fleet), way)} ${figures(fleet, lately)}
    <section class="sheet" aria-labelledby="queues">
      <h2><span id="queues">Queues</span> <small>jobs a minute, last hour</small></h2>
      <div class="wide" tabindex="0">
        <table>
          <thead>
            <tr>
              <th>Queue</th>
              <th class="num">Waiting</th>
              <th class="num">Running</th>
              <th class="num">Delayed</th>
              <th class="num">Failed</th>
              <th class="num">Oldest due</th>
              <th>Last hour</th>
              <th class="num">Done</th>
              <th><span class="sr">Actions</span></th>
            </tr>
          </thead>
          <tbody>
            ${fleet.queues.map((queue) => row(queue, last.get(queue.queue), lately.at.length, way))}
          </tbody>
        </table>
      </div>
    </section>`;
}

function row(queue: FleetQueue, last: QueueThroughput | undefined, minutes: number, way: Way): Markup {
  const { queue: name, paused, waiting, active, delayed, failed, oldest_waiting_s } = queue;
  const done = last?.completed ?? Array.from({ length: minutes }, () => 0);
  const link = (text: string) => way.to(`jobs?q=${encodeURIComponent(text)}`);
  const isLate = oldest_waiting_s !== null && oldest_waiting_s >= patienceS;
  return html`<tr>
    <td>
      <a class="name" href="${link(`queue:${name}`)}">${name}</a>
      ${paused ? html`<span class="late">paused</span>` : ''}
    </td>
    <td class="num">${number(waiting)}</td>
    <td class="num">${number(active)}</td>
    <td class="num">${number(delayed)}</td>
    <td class="num">
      ${failed > 0 ? html`<a class="bad" href="${link(`queue:${name} state:failed`)}">${number(failed)}</a>` : '0'}
    </td>
    <td class="num ${isLate ? 'late' : ''}">${oldest_waiting_s === null ? '–' : duration(oldest_waiting_s)}</td>
    <td>${sparkline(done, 'jobs a minute, last hour')}</td>
    <td class="num">${number(done.reduce((sum, each) => sum + each, 0))}</td>
    <td class="num">
      ${
        paused
          ? button(way, 'queues/resume', 'Resume', { queue: name }, 'main')
          : button(way, 'queues/pause', 'Pause', { queue: name })
      }
    </td>
  </tr>`;
}

function figures({ queues, workers }: Fleet, lately: Throughput): Markup {
  const total = (name: 'completed' | 'failed') =>
    lately.queues.reduce((sum, queue) => sum + queue[name].reduce((all, each) => all + each, 0), 0);
  const [done, failed] = [total('completed'), total('failed')];
  const oldest = Math.max(...queues.map(({ oldest_waiting_s }) => oldest_waiting_s ?? -1));
  const alive = workers.filter((worker) => worker.alive).length;
  const wait = medianWait(lately.queues);
  const shown: [string, string, string?][] = [
    ['Done in the last hour', number(done)],
    ['Waiting', number(queues.reduce((sum, { waiting }) => sum + waiting, 0))],
    ['Oldest due', oldest < 0 ? '–' : duration(oldest), oldest >= patienceS ? 'late' : ''],
    ['Failed for good', done + failed === 0 ? '–' : share(failed / (done + failed)), failed > 0 ? 'bad' : ''],
    ['Wait, median', wait === null ? '–' : elapsed(wait)],
    ['Workers', number(alive), alive === 0 ? 'bad' : ''],
  ];
  return html`<section class="figures" aria-label="Figures">
    ${shown.map(
      ([name, value, tone = '']) =>
        html`<div class="sheet figure"><span class="soft">${name}</span><b class="${tone}">${value}</b></div>`,
    )}
  </section>`;
}

const share = (part: number) =>
  part > 0 && part < 0.001 ? '< 0.1 %' : `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;

/** In milliseconds: of the medians of all minutes, weighted by how much ended in them. */
function medianWait(queues: QueueThroughput[]): number | null {
  const minutes = queues.flatMap(({ wait, completed, failed, retried }) =>
    wait.p50.flatMap((ms, n) => (ms === null ? [] : [{ ms, weight: 1 + completed[n]! + failed[n]! + retried[n]! }])),
  );
  const half = minutes.reduce((sum, { weight }) => sum + weight, 0) / 2;
  let passed = 0;
  for (const { ms, weight } of minutes.toSorted((a, b) => a.ms - b.ms)) if ((passed += weight) >= half) return ms;
  return null;
}

function plotsOf({ at: periods, queues, step_s }: Throughput, hours: 1 | 24): Markup {
  // The last period is not over: it would look like a fall.
  const at = periods.slice(0, -1);
  const minutes = step_s / 60;
  const sum = (name: 'completed' | 'failed' | 'retried') =>
    at.map((_, n) => queues.reduce((all, queue) => all + queue[name][n]!, 0) / minutes);
  const worst = (name: 'wait' | 'duration') =>
    at.map((_, n) => {
      const known = queues.flatMap((queue) => queue[name].p95[n] ?? []);
      return known.length === 0 ? null : Math.max(...known);
    });
  const spans = html`${hours === 1 ? html`<b>1 h</b>` : html`<a href="./">1 h</a>`} ·
  ${hours === 24 ? html`<b>24 h</b>` : html`<a href="./?hours=24">24 h</a>`}`;
  return html`<div class="stack plots" data-plots="overview/plots?hours=${hours}">
    ${plot({
      id: 'throughput',
      title: 'Jobs a minute',
      unit: 'count',
      at,
      note: spans,
      series: [
        { name: 'completed', values: sum('completed').map(Math.round), tone: 'stroke' },
        { name: 'retried', values: sum('retried').map(Math.round), tone: 'late' },
        { name: 'failed', values: sum('failed').map(Math.round), tone: 'errors' },
      ],
    })}
    ${plot({
      id: 'latency',
      title: 'Latency',
      unit: 'ms',
      at,
      note: '95 of 100 were faster, in the slowest queue',
      series: [
        { name: 'ran', values: worst('duration'), tone: 'stroke' },
        { name: 'had waited', values: worst('wait'), tone: 'late' },
      ],
    })}
  </div>`;
}
