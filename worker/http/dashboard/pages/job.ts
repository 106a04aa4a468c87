import type { Context } from 'hono';
import { html } from 'hono/html';
import { UsageError } from '../../../base/errors.ts';
import { insertAgain } from '../../../queue/client/again.ts';
import { cancelJobs, prioritiseJobs, rescheduleJobs, retryJobs, type Change } from '../../../queue/client/operate.ts';
import { operatorOf, type Env } from '../access.ts';
import { acted, fieldOf, idOf, priorityOf, timeOf } from '../act.ts';
import { size, state, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { readJob, readJson, type JobJson, type JobRow, type ReadJob } from '../job-row.ts';
import { livePart, page, type Markup } from '../layout.ts';
import { life } from '../life.ts';
import { mediaOf, mediaSection } from '../media.ts';
import { edited, jsonBlock, shown } from '../payload.ts';

/** `jobs/17`: a job's life, and what can be done with it. */
export function jobPage(http: Http, house: House): void {
  const { db, live } = house;
  const nobody = (context: Context<Env>) => {
    context.status(404);
    const body = html`<section class="sheet empty">
      <h1>There is no such job</h1>
      <p>It may have been deleted: completed jobs are kept for <code>queues.keep_completed</code>.</p>
    </section>`;
    return page(context, { title: 'No such job', current: 'jobs', body });
  };

  http.get('/jobs/:id{[0-9]+}', async (context) => {
    const id = idOf(context.req.param('id'));
    const found = id === undefined ? undefined : await readJob(db, id);
    if (!found) return nobody(context);
    const json = await readJson(db, found.job.id);
    const operator = context.get('user').operator;
    const body = html`${livePart(context, `live/jobs/${found.job.id}`, upper(found, operator))}
    ${lower(found.job, json, house, operator)}`;
    return page(context, { title: `${found.job.queue}.${found.job.kind} ${found.job.id}`, current: 'jobs', body });
  });

  http.get('/live/jobs/:id{[0-9]+}', (context) => {
    const [id, operator] = [idOf(context.req.param('id')) ?? 0, context.get('user').operator];
    const render = async () => {
      const found = await readJob(db, id);
      return found ? upper(found, operator) : html`<p class="notice">The job was deleted.</p>`;
    };
    return live.stream(JSON.stringify(['job', id, operator]), render, context.req.raw.signal);
  });

  http.get('/jobs/:id{[0-9]+}/:part{payload|result}', async (context) => {
    const id = idOf(context.req.param('id'));
    const found = id === undefined ? undefined : await readJob(db, id);
    const json = found && !house.app.config.dashboard.hidePayloads ? await readJson(db, found.job.id) : undefined;
    const text = json?.[context.req.param('part') as 'payload' | 'result'];
    if (!found || typeof text !== 'string') return nobody(context);
    return context.text(shown(text, context.req.param('part') === 'payload' ? sensitiveOf(found.job, house) : []));
  });

  actions(http, house);
}

function actions(http: Http, house: House): void {
  const { db } = house;
  const one = (
    action: string,
    refusal: string,
    change: (context: Context<Env>, id: number) => Promise<{ changes: Change[]; words: string; settings?: object }>,
  ) =>
    http.post(`/jobs/:id{[0-9]+}/${action}`, async (context) => {
      operatorOf(context);
      const id = idOf(context.req.param('id')) ?? 0;
      const { changes, words, settings = {} } = await change(context, id);
      const [made] = changes;
      if (!made) throw new UsageError(`There is no job ${id}`);
      if (!made.done) throw new UsageError(`Job ${id} is ${made.was}: ${refusal}`);
      return acted(context, db, { action, subject: `id:${id}`, many: 1, settings }, `jobs/${id}`, words);
    });

  one('retry', 'cancel it first', async (_, id) => ({
    changes: await retryJobs(db, { ids: [id] }),
    words: `Job ${id} runs again now, with all its retries.`,
  }));
  one('cancel', 'it has ended', async (_, id) => ({
    changes: await cancelJobs(db, [id]),
    words: `Job ${id} is cancelled.`,
  }));
  one('reschedule', 'only a pending job has a time', async (context, id) => {
    const run_at = timeOf(await fieldOf(context, 'run_at'));
    const words = `Job ${id} is due at ${run_at.toISOString()}.`;
    return { changes: await rescheduleJobs(db, [id], run_at), words, settings: { run_at } };
  });
  one('priority', 'only a pending job has a turn', async (context, id) => {
    const priority = priorityOf(await fieldOf(context, 'priority'));
    return {
      changes: await prioritiseJobs(db, [id], priority),
      words: `Job ${id} has priority ${priority}.`,
      settings: { priority },
    };
  });
  http.post('/jobs/:id{[0-9]+}/again', async (context) => {
    operatorOf(context);
    const id = idOf(context.req.param('id')) ?? 0;
    const form = await context.req.parseBody();
    const { payload } = form;
    const edit = typeof payload === 'string' ? (clear: unknown) => edited(payload, clear) : undefined;
    const { registry, app } = house;
    const added = await insertAgain({ db, registry, keyring: app.config.keyring }, id, edit);
    return acted(
      context,
      db,
      { action: 'insert_again', subject: `id:${id}`, many: 1, settings: { id: added } },
      `jobs/${added}`,
      `Inserted again: job ${added} is a copy of job ${id}.`,
    );
  });
}

const sensitiveOf = ({ queue, kind }: JobRow, { registry }: Pick<House, 'registry'>) =>
  registry.get(`${queue}.${kind}`)?.sensitive ?? [];

/** What changes while one looks. */
function upper(found: ReadJob, operator: boolean): Markup {
  const { job } = found;
  return html`<div class="title">
      <h1>${job.queue}.${job.kind} <span class="soft">${job.id}</span></h1>
      ${state(job.status)} ${operator ? buttons(job) : ''}
    </div>
    <div class="two">${life(found, '../')} ${facts(job)}</div>`;
}

function buttons({ id, status }: JobRow): Markup {
  const waits = status === 'pending';
  const ended = !waits && status !== 'processing';
  const form = (action: string, label: string, kind: string, off: boolean) =>
    html`<form method="post" action="${id}/${action}">
      <button class="${kind}" ${off ? 'disabled' : ''} ${action === 'retry' ? html`data-key="r"` : ''}>${label}</button>
    </form>`;
  return html`<div class="do">
    ${form('retry', waits ? 'Run now' : 'Retry', status === 'failed' ? 'main' : '', status === 'processing')}
    ${form('cancel', 'Cancel', 'danger', ended)}
  </div>`;
}

function facts(job: JobRow): Markup {
  const fact = (name: string, value: Markup | string | number | null, mono = false) =>
    value === null || value === ''
      ? ''
      : html`<dt>${name}</dt>
          <dd class="${mono ? 'mono' : ''}">${value}</dd>`;
  return html`<section class="sheet">
    <h2>Row</h2>
    <dl class="facts">
      ${fact('priority', job.priority)} ${fact('attempts', job.attempt)}
      ${fact('retries', `${job.retry_count} of ${job.max_retries}`)} ${fact('due', time(job.run_at))}
      ${job.expires_at ? fact('expires', time(job.expires_at)) : ''}
      ${job.snoozed_since ? fact('snoozes since', time(job.snoozed_since)) : ''} ${fact('file', job.file_id, true)}
      ${fact('dedupe key', job.dedupe_key, true)} ${fact('worker', job.worker ?? job.locked_by, true)}
      ${fact('trace', job.traceparent, true)} ${fact('archived', job.archived ? 'yes' : null)}
    </dl>
    <div class="pad row">
      <code id="sql">select * from jobs where id = ${job.id};</code><button type="button" data-copy="sql">Copy</button>
    </div>
  </section>`;
}

/** What stays as it is while one looks. */
function lower(job: JobRow, json: JobJson | undefined, house: House, operator: boolean): Markup {
  const { hidePayloads } = house.app.config.dashboard;
  const sensitive = sensitiveOf(job, house);
  const section = (name: 'payload' | 'result', title: string, paths: readonly string[]) => {
    const [text, bytes] = [json?.[name], json?.[`${name}_bytes`]];
    if (bytes === null || bytes === undefined) return '';
    const body = hidePayloads
      ? html`<p class="pad soft">Hidden: DASHBOARD_HIDE_PAYLOADS is set.</p>`
      : text
        ? jsonBlock(name, shown(text, paths), `${job.id}/${name}`)
        : html`<p class="pad soft">
            It is too large to be shown: <code>select ${name} from jobs where id = ${job.id};</code>
          </p>`;
    return html`<section class="sheet">
      <div class="head">
        <h2>${title} <small>${size(bytes)}</small></h2>
        ${hidePayloads || !text ? '' : html`<button type="button" data-copy="${name}">Copy</button>`}
      </div>
      ${body}
    </section>`;
  };
  const made = job.status === 'completed' && !hidePayloads && json?.result ? mediaOf(JSON.parse(json.result)) : [];
  const media = mediaSection(made, (n) => `${job.id}/media/${n}`);
  return html`<div class="two">
    <div class="stack">${media} ${section('payload', 'Payload', sensitive)} ${section('result', 'Result', [])}</div>
    ${operator ? changeForms(job, json?.payload && !hidePayloads ? shown(json.payload, sensitive) : undefined) : ''}
  </div>`;
}

/** The largest payload that can be edited on a page. */
const mostEdited = 200_000;

function changeForms(job: JobRow, payload: string | undefined): Markup {
  const editable = payload !== undefined && payload.length <= mostEdited;
  return html`<div class="stack">
    ${
      job.status === 'pending'
        ? html`<section class="sheet">
            <h2>Change</h2>
            <form class="form" method="post" action="${job.id}/reschedule">
              <label for="run_at">Due (UTC)</label
              ><span class="row"
                ><input
                  id="run_at"
                  name="run_at"
                  type="datetime-local"
                  step="1"
                  value="${localTime(job.run_at)}"
                  required
                /><button>Reschedule</button></span
              >
            </form>
            <form class="form" method="post" action="${job.id}/priority">
              <label for="priority">Priority</label
              ><span class="row"
                ><input
                  id="priority"
                  name="priority"
                  type="number"
                  min="-32768"
                  max="32767"
                  value="${job.priority}"
                  required
                /><button>Set</button></span
              >
            </form>
          </section>`
        : ''
    }
    <details class="sheet">
      <summary>Insert again…</summary>
      <form class="form" method="post" action="${job.id}/again">
        <p class="soft">A new job of the same kind. It is due now, and has no dedupe key.</p>
        ${editable ? editor(payload) : html`<p class="soft">With the same payload.</p>`}
        <span class="all"><button class="main">Insert</button></span>
      </form>
    </details>
  </div>`;
}

const editor = (payload: string): Markup =>
  html`<label for="edit" class="all">Payload. What is sensitive stays as it is.</label>
    <textarea id="edit" name="payload" spellcheck="false">${payload}</textarea>`;

const localTime = (at: Date) => (Math.abs(at.getTime()) < 2.5e14 ? at.toISOString().slice(0, 19) : '');
