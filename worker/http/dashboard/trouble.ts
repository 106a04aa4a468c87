import { html } from 'hono/html';
import type { Trouble } from '../../queue/client/trouble.ts';
import { count, jobsWait, number, time } from './elements.ts';
import type { Markup } from './layout.ts';

// Trouble in words, each with the button that mends it.

/** Where links and buttons of a part go, and whether there are buttons. */
export type Way = { to: (path: string) => string; operator: boolean };

type Told = {
  subject: Markup | string;
  since: Date | null;
  /** What it costs. */
  cost: Markup | string;
  cause: string | null;
  solution: Markup | string;
  buttons?: Markup[];
  look?: string;
  late?: boolean;
};

/** A button that posts a form. */
export const button = (
  { to, operator }: Way,
  path: string,
  label: string,
  fields: Record<string, string> = {},
  kind = '',
): Markup =>
  operator
    ? html`<form method="post" action="${to(path)}">
        ${Object.entries(fields).map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}" />`)}
        <button class="${kind}">${label}</button>
      </form>`
    : html``;

/** What needs a person, the worst first; one quiet line if nothing does. */
export function troubleList(all: Trouble[], way: Way): Markup {
  if (all.length === 0)
    return html`<section class="sheet trouble calm pad" aria-label="Needs attention">
      <p>Nothing needs attention.</p>
    </section>`;
  const told = all.map((each) => tell(each, way));
  return html`<section
    class="sheet trouble ${told.every(({ late }) => late) ? 'late' : ''}"
    aria-label="Needs attention"
  >
    <ul>
      ${told.map((each) => item(each, way))}
    </ul>
  </section>`;
}

function item({ subject, since, cost, cause, solution, buttons = [], look }: Told, { to }: Way): Markup {
  return html`<li>
    <div><b>${subject}</b> <span class="soft">${since ? html`· ${time(since)}` : ''} ${cost}</span></div>
    <div class="do">${look === undefined ? '' : html`<a class="button" href="${to(look)}">Look</a>`} ${buttons}</div>
    <div class="mend">${cause ? html`${cause} ` : ''}${solution}</div>
  </li>`;
}

const search = (text: string) => `jobs?q=${encodeURIComponent(text)}`;
const sinceSeconds = (seconds: number) => new Date(Date.now() - seconds * 1_000);

function tell(trouble: Trouble, way: Way): Told {
  switch (trouble.trouble) {
    case 'incident':
      return incident(trouble, way);
    case 'no_worker':
    case 'lost_worker':
    case 'unserved':
      return worker(trouble);
    case 'paused':
      return {
        subject: `Queue ${trouble.queue} is paused${trouble.paused_by === null ? '' : ` by ${trouble.paused_by}`}`,
        since: trouble.paused_at,
        cost: html`· ${jobsWait(trouble.waiting)}`,
        cause: null,
        solution: 'Its jobs wait until somebody resumes it. Running ones go on.',
        buttons: [button(way, 'queues/resume', 'Resume', { queue: trouble.queue }, 'main')],
        late: true,
      };
    case 'overdue':
      return {
        subject: `Queue ${trouble.queue} is late`,
        since: sinceSeconds(trouble.oldest_waiting_s),
        cost: html`· ${jobsWait(trouble.waiting)}, ${number(trouble.active)} running`,
        cause: 'The workers that serve it are busy, or the jobs take longer than before.',
        solution: html`Start more workers, or raise
          <code>${trouble.queue === 'publish' ? 'CONCURRENCY' : 'WORKER_CONCURRENCY'}</code>.`,
        look: search(`queue:${trouble.queue} state:processing`),
        late: true,
      };
    case 'turns':
      return turns(trouble);
    case 'bridge':
      return bridge(trouble);
    case 'schedule':
      return schedule(trouble, way);
    case 'rejected':
      return {
        subject: trouble.more
          ? `${number(trouble.messages)}+ rejected messages`
          : count(trouble.messages, 'rejected message'),
        since: trouble.first_at,
        cost: html`· ${trouble.reason} · of ${trouble.source}`,
        cause: 'They could not become jobs. They are kept as they came.',
        solution: 'Correct what is wrong, here or at the sender, and submit them again.',
        look: `ways-in?source=${encodeURIComponent(trouble.source)}&reason=${encodeURIComponent(trouble.reason)}`,
        late: true,
      };
    case 'dead_letters':
      return deadLetters(trouble, way);
  }
}

type Of<Which extends Trouble['trouble']> = Extract<Trouble, { trouble: Which }>;

function incident(found: Of<'incident'>, way: Way): Told {
  const { id, dependency, host, code, message, since, kinds, jobs_held, cause, solution } = found;
  return {
    subject: `${dependency}${host === null ? '' : ` on ${host}`} fails`,
    since,
    cost: html`· ${code}: ${message} · ${jobsWait(jobs_held)}, of ${kinds.join(', ')}: none uses a retry`,
    cause,
    solution: `${solution ?? 'Correct what it names.'} The jobs that wait then go on by themselves.`,
    buttons: [button(way, 'incidents/try', 'Try now', { id }, 'main')],
    look: search(`error:${code}`),
  };
}

function worker(trouble: Of<'no_worker' | 'lost_worker' | 'unserved'>): Told {
  if (trouble.trouble === 'lost_worker')
    return {
      subject: `Worker ${trouble.pid} on ${trouble.host} has lost its connection`,
      since: sinceSeconds(trouble.heartbeat_age_s),
      cost: html`· it ran ${count(trouble.running ?? 0, 'job')}`,
      cause: 'Its process, its machine or its network is gone.',
      solution: 'Another worker takes over its jobs. Look at its log.',
      look: 'workers',
      late: true,
    };
  if (trouble.trouble === 'unserved')
    return {
      subject: `No worker serves queue ${trouble.queue}`,
      since: trouble.oldest_waiting_s === null ? null : sinceSeconds(trouble.oldest_waiting_s),
      cost: html`· ${jobsWait(trouble.waiting)}`,
      cause: null,
      solution: html`Start one with ${trouble.queue} in <code>QUEUES</code>, or with <code>QUEUES</code> unset.`,
      look: 'workers',
    };
  const jobs = trouble.queues.reduce((sum, { waiting }) => sum + waiting, 0);
  return {
    subject: 'No worker is running',
    since: null,
    cost: html`· ${jobsWait(jobs)}`,
    cause: null,
    solution: html`Start one: <code>rowmill start</code>.`,
    look: 'workers',
  };
}

function turns(trouble: Of<'turns'>): Told {
  return {
    subject: `${jobsWait(trouble.jobs)} for ${trouble.waits_for} on worker ${trouble.worker.host}`,
    since: trouble.since,
    cost: '',
    cause: 'Other jobs of the same process have it. The time limits of those that wait do not run.',
    solution: html`Start more workers, or give it more memory and raise <code>MEDIA_MEMORY_MB</code>.`,
    look: `jobs/${trouble.job_id}`,
    late: true,
  };
}

function bridge(trouble: Of<'bridge'>): Told {
  const { workers, bridge: name } = trouble;
  return {
    subject: `Bridge ${name} is not connected${workers.length > 1 ? `, on ${workers.length} workers` : ''}`,
    since: trouble.since,
    cost: html`· ${trouble.reason ?? 'it is starting'}`,
    cause: 'Messages wait where they are: nothing is lost.',
    solution: html`It connects again by itself. If the other side is up, check its address and its password on
      ${workers[0]!.host}: <code>rowmill doctor</code> says more.`,
    look: 'ways-in',
  };
}

function schedule({ name, error, since }: Of<'schedule'>, way: Way): Told {
  const path = `schedule?name=${encodeURIComponent(name)}`;
  const run = button(way, 'schedules/run', 'Run now', { name });
  if (error === null)
    return {
      subject: `Schedule ${name} is late`,
      since,
      cost: '· its tick came, and nothing was added',
      cause: 'No worker was there to make it, or all of them are busy with the database.',
      solution: 'Start a worker: any of them makes up the latest tick. Or run it now.',
      buttons: [run],
      look: path,
    };
  return {
    subject: `Schedule ${name} adds nothing`,
    since: null,
    cost: html`· ${error}`,
    cause: null,
    solution: 'Correct what it names, or disable the schedule.',
    buttons: [button(way, 'schedules/disable', 'Disable', { name })],
    look: path,
  };
}

function deadLetters({ queue, kind, error_code, jobs, last_at, cause, solution }: Of<'dead_letters'>, way: Way): Told {
  const code = error_code === null ? '' : ` error:${quoted(error_code)}`;
  const q = `queue:${queue} kind:${quoted(kind)} state:failed${code}`;
  const retry = `jobs/confirm?${new URLSearchParams({ q, all: '1', action: 'retry' }).toString()}`;
  return {
    subject: `${count(jobs, 'dead letter')} of ${queue}.${kind}`,
    since: null,
    cost: html`· ${error_code ?? 'without a code'} · the last ${time(last_at)}`,
    cause,
    solution: solution ?? 'See what their errors say.',
    buttons: way.operator ? [html`<a class="button" href="${way.to(retry)}">Retry ${number(jobs)}</a>`] : [],
    look: search(q),
    late: true,
  };
}

/** A word of a search, as search-words.ts reads it. */
const quoted = (word: string) => (/^[\w.-]+$/.test(word) ? word : `"${word.replaceAll(/["\\]/g, '\\$&')}"`);
