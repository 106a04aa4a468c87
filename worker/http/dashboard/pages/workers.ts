import { html } from 'hono/html';
import type { Fleet } from '../../../queue/client/trouble.ts';
import type { FleetWorker } from '../../../queue/client/operate.ts';
import { empty, number, size, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';

/** `workers`: the processes of the fleet. */
export function workersPage(http: Http, { shared, live, worker }: House): void {
  http.get('/workers', async (context) => {
    const to = (path: string) => linkTo(context, path);
    const body = livePart(context, 'workers/live', workers(await shared.fleet(), worker.id(), to));
    return page(context, { title: 'Workers', current: 'workers', body });
  });

  http.get('/workers/live', (context) =>
    live.stream(
      'workers',
      async () => workers(await shared.fleet(), worker.id(), (path) => path),
      context.req.raw.signal,
    ),
  );
}

function workers({ workers: all, queues }: Fleet, own: string, to: (path: string) => string): Markup {
  const versions = new Set(all.map(({ version }) => version));
  const unserved = queues.filter(({ queue }) => !all.some((each) => each.alive && each.queues.includes(queue)));
  return html`<h1 class="sr">Workers</h1>
    ${versions.size > 1 ? skew(all) : ''}
    <section class="sheet" aria-labelledby="workers">
      <h2><span id="workers">Workers</span> <small>${number(all.length)}</small></h2>
      ${all.length === 0 ? none : table(all, own, to)}
      ${
        unserved.length === 0 || all.length === 0
          ? ''
          : html`<p class="foot">
              Nobody serves ${unserved.map(({ queue }) => queue).join(', ')}: start a worker with them in QUEUES, or
              with QUEUES unset.
            </p>`
      }
    </section>`;
}

const none = empty(
  html`No worker runs. Start one with <code>rowmill start</code>; it tells of itself here, and in`,
  'select host, pid, version, queues, heartbeat_at from workers',
);

function skew(all: FleetWorker[]): Markup {
  const byVersion = [...Map.groupBy(all, ({ version }) => version)].toSorted(([a], [b]) => (a < b ? 1 : -1));
  const told = byVersion.map(([version, some]) => `${some.length} of ${version}`).join(', ');
  return html`<section class="sheet trouble late pad" aria-label="Versions">
    <p><b>The workers have several versions</b> <span class="soft">· ${told}</span></p>
    <p class="mend">Fine while you deploy. After that, restart the older ones.</p>
  </section>`;
}

const table = (all: FleetWorker[], own: string, to: (path: string) => string) =>
  html`<div class="wide" tabindex="0">
    <table>
      <thead>
        <tr>
          <th>Worker</th>
          <th>State</th>
          <th class="num">Running</th>
          <th class="num">Memory</th>
          <th>Version</th>
          <th>Queues</th>
          <th>Bridges</th>
          <th class="num">Started</th>
          <th class="num">Last beat</th>
        </tr>
      </thead>
      <tbody>
        ${all.map((worker) => row(worker, worker.id === own, to))}
      </tbody>
    </table>
  </div>`;

function row(worker: FleetWorker, isOwn: boolean, to: (path: string) => string): Markup {
  const { host, pid, alive, running, memory_bytes, version, queues, bridges, started_at, waiting } = worker;
  return html`<tr>
    <td>
      <span class="name">${host}</span> <span class="soft num">${pid}</span>
      ${isOwn ? html`<span class="soft">· this page</span>` : ''}
    </td>
    <td>
      ${alive ? html`<span class="state completed">alive</span>` : html`<span class="state failed">lost</span>`}
      ${waiting.map(
        ({ job_id, waits_for }) =>
          html`<div class="late">job <a href="${to(`jobs/${job_id}`)}">${job_id}</a> waits for ${waits_for}</div>`,
      )}
    </td>
    <td class="num">${running === null ? '–' : number(running)}</td>
    <td class="num">${memory_bytes === null ? '–' : size(memory_bytes)}</td>
    <td>${version}</td>
    <td class="list">${queues.join(', ')}</td>
    <td>
      ${
        bridges.length === 0
          ? html`<span class="soft">none</span>`
          : bridges.map(
              ({ bridge, connected }) =>
                html`<div class="state ${connected ? 'completed' : 'failed'}">
                  ${bridge}${connected ? '' : ': off'}
                </div>`,
            )
      }
    </td>
    <td class="num soft">${time(started_at)}</td>
    <td class="num soft">${time(new Date(Date.now() - worker.heartbeat_age_s * 1_000))}</td>
  </tr>`;
}
