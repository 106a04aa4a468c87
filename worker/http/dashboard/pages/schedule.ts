import type { Context } from 'hono';
import { html } from 'hono/html';
import type { Db } from '../../../base/db/db.ts';
import { messageOf, UsageError } from '../../../base/errors.ts';
import type { Registry } from '../../../queue/registry.ts';
import {
  listSchedules,
  nextTicks,
  overlaps,
  scheduleHistory,
  setSchedule,
  type PastTick,
  type ScheduleStatus,
} from '../../../queue/schedule/schedules.ts';
import { operatorOf, type Env } from '../access.ts';
import { acted } from '../act.ts';
import { duration, elapsed, empty, state, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';
import { button, type Way } from '../trouble.ts';
import { nextOf, pathOf } from './schedules.ts';

/** `schedule?name=`: the next ticks and the last ones, and the form that changes it, or makes it. */
export function schedulePage(http: Http, { db, registry }: House): void {
  http.get('/schedule', async (context) => {
    const name = context.req.query('name') ?? '';
    const way = wayOf(context);
    const schedule = (await listSchedules(db)).find((each) => each.name === name);
    if (!schedule && (name === '' || !way.operator)) return context.notFound();
    const body = schedule ? await show(db, schedule, registry, way) : form(way, valuesOf({ name }), registry);
    return page(context, { title: name, current: 'schedules', body });
  });

  http.post('/schedule', async (context) => {
    operatorOf(context);
    const given = valuesOf(await context.req.parseBody());
    const { name: subject } = given;
    try {
      const settings = changesOf(given);
      const { next_tick } = await setSchedule(db, registry, { name: subject, ...settings });
      const words = `Schedule ${subject} is saved: its next tick is ${next_tick.toISOString()}`;
      const done = { action: 'set_schedule', subject, settings: loggedOf(settings), many: 1 };
      return await acted(context, db, done, pathOf(subject), words);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      context.status(422);
      const body = form(wayOf(context), given, registry, error.message);
      return page(context, { title: subject, current: 'schedules', body });
    }
  });
}

async function show(db: Db, schedule: ScheduleStatus, registry: Registry, way: Way): Promise<Markup> {
  const { name, queue, kind, cron, time_zone, enabled } = schedule;
  const history = await scheduleHistory(db, name);
  return html`<div class="title">
      <h1>${name}</h1>
      <span class="soft">${queue}.${kind} · <code>${cron}</code> · ${time_zone}</span>
      <span>${nextOf(schedule)}</span>
      <div class="do">
        ${button(way, 'schedules/run', 'Run now', { name }, 'main')}
        ${
          enabled
            ? button(way, 'schedules/disable', 'Disable', { name })
            : button(way, 'schedules/enable', 'Enable', { name })
        }
      </div>
    </div>
    ${schedule.error === null ? '' : html`<p class="notice problem">It adds nothing: ${schedule.error}</p>`}
    <div class="two">
      ${ticked(history, way)}
      <div class="stack">
        ${upcoming(schedule)} ${form(way, valuesOf({ ...schedule }), registry)} ${removal(way, name)}
      </div>
    </div>`;
}

const wayOf = (context: Context<Env>): Way => ({
  to: (path) => linkTo(context, path),
  operator: context.get('user').operator,
});

function upcoming({ cron, time_zone }: ScheduleStatus): Markup {
  return html`<section class="sheet" aria-labelledby="next">
    <h2><span id="next">Next five ticks</span> <small>${time_zone}</small></h2>
    ${ticksOf(cron, time_zone)}
  </section>`;
}

function ticksOf(cron: string, timeZone: string): Markup {
  try {
    const clock = new Intl.DateTimeFormat('en-GB', { timeZone, dateStyle: 'full', timeStyle: 'medium' });
    return html`<ol class="ticks">
      ${nextTicks(cron, timeZone, 5).map(
        (tick) => html`<li><span>${clock.format(tick)}</span> <span class="soft">${time(tick)}</span></li>`,
      )}
    </ol>`;
  } catch (error) {
    return html`<p class="pad bad">${messageOf(error)}</p>`;
  }
}

function ticked(history: PastTick[], { to }: Way): Markup {
  const jobOf = (id: number, status: string | null) =>
    html`${state(status ?? 'deleted')} <a href="${to(`jobs/${id}`)}">${id}</a>`;
  const row = ({ tick, at, job_id, status, error_code, started_at, completed_at }: PastTick) =>
    html`<tr>
      <td class="nowrap">${time(tick ?? at)}</td>
      <td>${tick === null ? 'by hand' : lateBy(tick, at)}</td>
      <td class="nowrap">${job_id === null ? html`<span class="soft">skipped</span>` : jobOf(job_id, status)}</td>
      <td class="num soft">
        ${started_at && completed_at ? elapsed(completed_at.getTime() - started_at.getTime()) : ''}
      </td>
      <td class="bad">${error_code ?? ''}</td>
    </tr>`;
  return html`<section class="sheet" aria-labelledby="history">
    <h2><span id="history">History</span> <small>the last ${history.length}</small></h2>
    ${
      history.length === 0
        ? empty('It has not ticked yet.', 'select * from schedule_ticks order by id desc')
        : html`<div class="wide" tabindex="0">
            <table>
              <thead>
                <tr>
                  <th>Tick</th>
                  <th>Made</th>
                  <th>Job</th>
                  <th class="num">Ran</th>
                  <th>Error</th>
                </tr>
              </thead>
              <tbody>
                ${history.map(row)}
              </tbody>
            </table>
          </div>`
    }
  </section>`;
}

/** Workers make a tick within a second. */
function lateBy(tick: Date, at: Date): Markup {
  const seconds = (at.getTime() - tick.getTime()) / 1_000;
  return seconds < 5
    ? html`<span class="soft">on time</span>`
    : html`<span class="late">${duration(seconds)} late</span>`;
}

/** The fields of the form, as text. */
type Values = Record<
  'name' | 'cron' | 'time_zone' | 'kind' | 'payload' | 'priority' | 'max_retries' | 'overlap',
  string
>;

/** No payload is in the log of actions. */
const loggedOf = (settings: ReturnType<typeof changesOf>) => ({ ...settings, payload: undefined });

function valuesOf(given: Record<string, unknown>): Values {
  const text = (name: string, otherwise = '') => {
    const value = given[name];
    if (value === undefined || value === null) return otherwise;
    return typeof value === 'string' ? value : JSON.stringify(value, null, name === 'payload' ? 2 : 0);
  };
  const queue = typeof given['queue'] === 'string' ? `${given['queue']}.` : '';
  return {
    name: text('name'),
    cron: text('cron'),
    time_zone: text('time_zone', 'UTC'),
    kind: `${queue}${text('kind')}`,
    payload: text('payload', '{}'),
    priority: text('priority', '0'),
    max_retries: text('max_retries'),
    overlap: text('overlap', 'queue'),
  };
}

/** @throws UsageError */
function changesOf({ cron, time_zone, kind: named, payload, priority, max_retries, overlap }: Values) {
  const [, queue, kind] = /^([^.]+)\.(.+)$/.exec(named.trim()) ?? [];
  if (queue === undefined || kind === undefined) throw new UsageError(`${named}: a kind is named as media.image is`);
  return {
    cron: cron.trim(),
    time_zone: time_zone.trim(),
    queue,
    kind,
    payload: parsed(payload),
    priority: whole('priority', priority, [-32_768, 32_767]) ?? 0,
    max_retries: whole('retries', max_retries, [0, 1_000_000]),
    overlap: overlaps.find((each) => each === overlap) ?? 'queue',
  };
}

function parsed(payload: string): unknown {
  try {
    return JSON.parse(payload || '{}');
  } catch (error) {
    throw new UsageError(`payload: ${messageOf(error)}`, { cause: error });
  }
}

function whole(name: string, text: string, [least, most]: [number, number]): number | null {
  if (text.trim() === '') return null;
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new UsageError(`${name}: must be a whole number from ${least} to ${most}`);
}

function form({ to, operator }: Way, values: Values, registry: Registry, fault?: string): Markup {
  if (!operator) return html``;
  const field = (name: keyof Values, label: string, more: Markup | string = '') =>
    html`<label for="f-${name}">${label}</label>
      <input id="f-${name}" name="${name}" value="${values[name]}" autocomplete="off" ${more} />`;
  return html`<form class="sheet" method="post" action="${to('schedule')}" aria-labelledby="edit">
    <input type="hidden" name="name" value="${values.name}" />
    <h2><span id="edit">${values.cron === '' ? `New schedule ${values.name}` : 'Change it'}</span></h2>
    ${fault === undefined ? '' : html`<p class="fault" role="alert">${fault}</p>`}
    <div class="form">
      ${field('cron', 'Cron', html`required maxlength="200" placeholder="30 3 * * *"`)}
      ${field('time_zone', 'Time zone', html`maxlength="100"`)}
      ${field('kind', 'Adds', html`required maxlength="200" list="kinds" placeholder="cleanup.temp_files"`)}
      <datalist id="kinds">${[...registry.keys()].map((kind) => html`<option value="${kind}"></option>`)}</datalist>
      ${field('priority', 'Priority', html`inputmode="numeric"`)}
      ${field('max_retries', 'Retries', html`inputmode="numeric" placeholder="as the queue says"`)}
      <label for="f-overlap">While the last job runs</label>
      <select id="f-overlap" name="overlap">
        ${overlaps.map(
          (each) =>
            html`<option value="${each}" ${each === values.overlap ? 'selected' : ''}>
              ${each === 'skip' ? 'skip the tick' : 'add another'}
            </option>`,
        )}
      </select>
      <label for="f-payload">Payload</label>
      <textarea id="f-payload" name="payload" class="short" spellcheck="false">${values.payload}</textarea>
      <div class="all"><button class="main">Save</button></div>
    </div>
  </form>`;
}

const removal = (way: Way, name: string) =>
  way.operator
    ? html`<details class="sheet">
        <summary>Delete it</summary>
        <div class="pad row">
          <span>Its jobs stay. This cannot be undone.</span>
          ${button(way, 'schedules/delete', `Delete ${name}`, { name }, 'danger')}
        </div>
      </details>`
    : '';
