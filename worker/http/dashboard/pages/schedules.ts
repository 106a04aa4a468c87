import { html } from 'hono/html';
import type { Db } from '../../../base/db/db.ts';
import { lateS } from '../../../queue/client/operate.ts';
import {
  deleteSchedule,
  enableSchedule,
  listSchedules,
  runSchedule,
  type ScheduleStatus,
} from '../../../queue/schedule/schedules.ts';
import { acted, fieldOf } from '../act.ts';
import { operatorOf } from '../access.ts';
import { count, empty, number, state, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';
import { button, type Way } from '../trouble.ts';

/** `schedules`: the jobs that are added by the clock, and their buttons. schedule.ts has one of them. */
export function schedulesPage(http: Http, { db, live }: House): void {
  http.get('/schedules', async (context) => {
    const way: Way = { to: (path) => linkTo(context, path), operator: context.get('user').operator };
    const part = `schedules/live${way.operator ? '' : '?read'}`;
    const body = html`${livePart(context, part, await schedules(db, way))} ${way.operator ? fresh(way) : ''}`;
    return page(context, { title: 'Schedules', current: 'schedules', body });
  });

  http.get('/schedules/live', (context) => {
    const operator = context.get('user').operator && context.req.query('read') === undefined;
    const render = async () => schedules(db, { to: (path) => path, operator });
    return live.stream(`schedules ${operator}`, render, context.req.raw.signal);
  });

  http.post('/schedules/run', async (context) => {
    operatorOf(context);
    const name = await fieldOf(context, 'name');
    const id = await runSchedule(db, name);
    const words =
      id === undefined
        ? `The last job of schedule ${name} has not ended, and its overlap is skip`
        : `Schedule ${name} has added job ${id}`;
    const done = { action: 'run_schedule', subject: name, many: id === undefined ? 0 : 1 };
    return acted(context, db, done, pathOf(name), words);
  });

  for (const [verb, enabled] of [
    ['enable', true],
    ['disable', false],
  ] as const)
    http.post(`/schedules/${verb}`, async (context) => {
      operatorOf(context);
      const name = await fieldOf(context, 'name');
      await enableSchedule(db, name, enabled);
      const done = { action: `${verb}_schedule`, subject: name, many: 1 };
      return acted(context, db, done, pathOf(name), `Schedule ${name} is ${verb}d`);
    });

  http.post('/schedules/delete', async (context) => {
    operatorOf(context);
    const name = await fieldOf(context, 'name');
    await deleteSchedule(db, name);
    const done = { action: 'delete_schedule', subject: name, many: 1 };
    return acted(context, db, done, 'schedules', `Schedule ${name} is deleted; its jobs stay`);
  });
}

/** A name may have any character, so it is no part of the path. */
export const pathOf = (name: string): string => `schedule?name=${encodeURIComponent(name)}`;

/** Only while no worker runs, or all are busy with the database. */
function isLate({ enabled, error, next_tick }: ScheduleStatus): boolean {
  return enabled && error === null && next_tick !== null && Date.now() - next_tick.getTime() > lateS * 1_000;
}

async function schedules(db: Db, way: Way): Promise<Markup> {
  const all = await listSchedules(db);
  const enabled = all.filter((each) => each.enabled).length;
  return html`<h1 class="sr">Schedules</h1>
    <section class="sheet" aria-labelledby="schedules">
      <h2><span id="schedules">Schedules</span> <small>${number(enabled)} of ${number(all.length)} enabled</small></h2>
      ${all.length === 0 ? none : table(all, way)}
    </section>`;
}

const none = empty(
  'A schedule adds a job at each tick of its clock.',
  `insert into schedules (name, cron, time_zone, queue, kind)
values ('nightly', '30 3 * * *', 'Europe/Berlin', 'cleanup', 'temp_files')`,
);

const table = (all: ScheduleStatus[], way: Way) =>
  html`<div class="wide" tabindex="0">
    <table>
      <thead>
        <tr>
          <th>Schedule</th>
          <th>When</th>
          <th>Adds</th>
          <th class="num">Next tick</th>
          <th class="num">Last tick</th>
          <th>Last job</th>
          <th><span class="sr">Actions</span></th>
        </tr>
      </thead>
      <tbody>
        ${all.map((each) => row(each, way))}
      </tbody>
    </table>
  </div>`;

function row(schedule: ScheduleStatus, way: Way): Markup {
  const { name, cron, time_zone, queue, kind, enabled, last_tick, last_job_id, last_status, skipped } = schedule;
  return html`<tr>
    <td>
      <a class="name" href="${way.to(pathOf(name))}">${name}</a>
      ${skipped > 0 ? html`<div class="soft">${count(skipped, 'tick')} skipped</div>` : ''}
    </td>
    <td class="nowrap"><code>${cron}</code> <span class="soft">${time_zone}</span></td>
    <td>${queue}.${kind}</td>
    <td class="num">${nextOf(schedule)}</td>
    <td class="num soft">${time(last_tick)}</td>
    <td class="nowrap">
      ${
        last_job_id === null
          ? html`<span class="soft">none yet</span>`
          : html`${state(last_status ?? 'deleted')} <a href="${way.to(`jobs/${last_job_id}`)}">${last_job_id}</a>`
      }
    </td>
    <td class="num">
      <div class="row end">
        ${button(way, 'schedules/run', 'Run now', { name })}
        ${
          enabled
            ? button(way, 'schedules/disable', 'Disable', { name })
            : button(way, 'schedules/enable', 'Enable', { name })
        }
      </div>
    </td>
  </tr>`;
}

/** When it ticks next, or why it does not. */
export function nextOf(schedule: ScheduleStatus): Markup | string {
  if (!schedule.enabled) return html`<span class="soft">disabled</span>`;
  if (schedule.error !== null) return html`<span class="bad">cannot tick</span>`;
  if (isLate(schedule)) return html`<span class="late">late: ${time(schedule.next_tick)}</span>`;
  return time(schedule.next_tick, 'soon');
}

const fresh = ({ to }: Way) =>
  html`<form class="sheet search" action="${to('schedule')}">
    <label for="name">New schedule</label>
    <input id="name" name="name" maxlength="200" placeholder="nightly" required />
    <button>Write it</button>
  </form>`;
