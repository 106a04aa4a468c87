import { setTimeout as sleep } from 'node:timers/promises';
import { Hono, type Context, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { html } from 'hono/html';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { App } from '../../app.ts';
import { within } from '../../base/deadline.ts';
import { isTransient } from '../../base/db/db.ts';
import { UsageError, codeOf } from '../../base/errors.ts';
import { doStep } from '../../queue/client/actions.ts';
import { repeat } from '../../queue/fleet/repeat.ts';
import { faultsTo } from '../faults.ts';
import { telling } from './act.ts';
import { authenticated, sameSite, type Env } from './access.ts';
import { assets } from './assets.ts';
import { createHouse, type House } from './house.ts';
import { page } from './layout.ts';
import { mediaRoute } from './media.ts';
import { actionsPage } from './pages/actions.ts';
import { alertsPage } from './pages/alerts.ts';
import { analyticsPage } from './pages/analytics.ts';
import { deadPage } from './pages/dead.ts';
import { jobPage } from './pages/job.ts';
import { jobsPage } from './pages/jobs.ts';
import { manyPages } from './pages/many.ts';
import { notificationsPage } from './pages/notifications.ts';
import { overviewPage } from './pages/overview.ts';
import { postsPage } from './pages/posts.ts';
import { rejectedPage } from './pages/rejected.ts';
import { schedulePage } from './pages/schedule.ts';
import { schedulesPage } from './pages/schedules.ts';
import { templatesPage } from './pages/templates.ts';
import { waysInPage } from './pages/ways-in.ts';
import { workersPage } from './pages/workers.ts';

export type Dashboard = { http: Hono; close(): Promise<void> };

const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; " +
  "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/** The largest form: a payload of 1 MB, as a form encodes it. */
const mostBytes = 4_000_000;

/** How often a process asks for actions on many jobs that wait for a step. */
const stepPauseMs = 1_000;
/** Between two steps, so that the queue and the pages have their turns. */
const betweenMs = 20;
const closeMs = 2_000;

async function doSteps({ db, app }: House, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await doStep(db, app.log))) await sleep(betweenMs, undefined, { signal }).catch(() => {});
}

/** Each adds a page. */
const allPages = [
  overviewPage,
  jobsPage,
  manyPages,
  jobPage,
  deadPage,
  mediaRoute,
  schedulesPage,
  schedulePage,
  workersPage,
  waysInPage,
  rejectedPage,
  notificationsPage,
  templatesPage,
  postsPage,
  analyticsPage,
  alertsPage,
  actionsPage,
];

/** The pages: README.md. Without a password they are 404. */
export function dashboard(
  app: App,
  databaseUrl: string,
  parts: Pick<House, 'worker' | 'registry' | 'bridges'>,
): Dashboard {
  const outside = new Hono();
  const authenticate = authenticated(app.config);
  if (!authenticate) return { http: outside, close: async () => {} };
  const house = createHouse(app, databaseUrl, parts);
  const { path } = app.config.dashboard;
  const http = new Hono<Env>();

  http.use(protect, authenticate, sameSite(app.config), bodyLimit({ maxSize: mostBytes }), async (context, next) => {
    context.set('up', upFrom(context));
    await next();
  });
  http.use(telling(house.db), async ({ req }, next) => {
    await next();
    if (req.method === 'POST') house.shared.forget();
  });
  http.onError((error, context) => answerOf(error, context, house));
  http.notFound((context) => told(context, 404, 'There is no such page', 'The link may be of another version.'));
  assets(http);
  http.get('/robots.txt', (context) => context.text('User-agent: *\nDisallow: /\n'));
  for (const add of allPages) add(http, house);
  const stopping = new AbortController();
  const chore = { everyMs: stepPauseMs, work: () => doSteps(house, stopping.signal) };
  const steps = repeat([chore], app.log, stopping.signal);

  // With the slash, so that relative links work.
  outside.get(path, (context) => context.redirect(`${path.split('/').at(-1)}/`));
  outside.mount(path, http.fetch);
  return {
    http: outside,
    async close() {
      stopping.abort();
      await within(closeMs, steps);
      house.live.close();
      await house.db.end();
    },
  };
}

const protect: MiddlewareHandler<Env> = async (context, next) => {
  context.header('cache-control', 'private, no-store');
  context.header('content-security-policy', policy);
  context.header('x-frame-options', 'DENY');
  context.header('x-content-type-options', 'nosniff');
  context.header('x-robots-tag', 'noindex');
  context.header('cross-origin-opener-policy', 'same-origin');
  context.header('cross-origin-resource-policy', 'same-origin');
  // Not no-referrer: then browsers send `Origin: null` with forms.
  context.header('referrer-policy', 'same-origin');
  await next();
};

/** How a link gets from the current path up to the dashboard's: one `../` for each slash in between. */
function upFrom({ req }: Context): string {
  const below = new URL(req.raw.url).pathname.slice(1);
  return '../'.repeat(below.split('/').length - 1);
}

/** An error as a page that says what to do. What it says of other errors is in the log only. */
function answerOf(error: Error, context: Context<Env>, { app }: House): Response | Promise<Response> {
  if (error instanceof HTTPException) {
    if (error.status === 413) return told(context, 413, 'Too large', 'A form may have 4 MB.');
    return told(context, error.status, 'Refused', error.message);
  }
  if (error instanceof UsageError) return told(context, 422, 'That cannot be done', error.message);
  if (codeOf(error) === '57014')
    return told(context, 503, 'That takes too long', 'Postgres gave up after 5 s. Narrow it down, and try again.');
  if (isTransient(error)) {
    app.log.warn({ err: error }, 'the dashboard does not reach Postgres');
    return told(
      context,
      503,
      'Postgres does not answer',
      'Nothing was changed, or nobody knows. Try again in a moment.',
    );
  }
  return faultsTo(app.log)(error, context);
}

function told(context: Context<Env>, status: ContentfulStatusCode, title: string, words: string) {
  context.status(status);
  return page(context, {
    title,
    body: html`<section class="sheet empty">
      <h1>${title}</h1>
      <p>${words}</p>
    </section>`,
  });
}
