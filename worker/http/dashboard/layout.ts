import type { Context } from 'hono';
import { html } from 'hono/html';
import type { Env } from './access.ts';
import { assetPath } from './assets.ts';
import type { Markup } from './elements.ts';

export type { Markup };

/** The pages in the navigation, in order, with their paths below the dashboard. A new one is a line here. */
const pages = [
  ['', 'Overview'],
  ['jobs', 'Jobs'],
  ['dead', 'Dead letters'],
  ['schedules', 'Schedules'],
  ['workers', 'Workers'],
  ['ways-in', 'Ways in'],
  ['notifications', 'Notifications'],
  ['posts', 'Posts'],
  ['analytics', 'Analytics'],
  ['alerts', 'Alerts'],
  ['actions', 'Actions'],
] as const;

type Page = {
  title: string;
  /** The path of the navigation's entry that is marked. */
  current?: (typeof pages)[number][0];
  body: Markup;
  /** Whether the page has plots: then it loads uPlot. */
  plots?: boolean;
};

/** A link to a page by its path below the dashboard: relative, so that a proxy may add a prefix. */
export const linkTo = (context: Context<Env>, path: string): string => `${context.get('up')}${path}` || './';

/** A whole page. */
export function page(context: Context<Env>, { title, current, body, plots }: Page): Response | Promise<Response> {
  const to = (path: string) => linkTo(context, path);
  const user = context.get('user');
  const notice = context.get('notice');
  // In this order: dashboard.js listens to what htmx says.
  const scripts = ['dashboard.js', 'htmx.js', ...(plots ? (['uplot.js', 'plots.js'] as const) : [])] as const;
  return context.html(
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="robots" content="noindex" />
          <meta name="color-scheme" content="light dark" />
          <title>${title} · Rowmill</title>
          <link rel="icon" href="data:," />
          ${plots ? html`<link rel="stylesheet" href="${to(assetPath('uplot.css'))}" />` : ''}
          <link rel="stylesheet" href="${to(assetPath('dashboard.css'))}" />
          ${scripts.map((name) => html`<script src="${to(assetPath(name))}" defer></script>`)}
        </head>
        <body>
          <a class="skip" href="#main">Skip to content</a>
          <header class="top">
            <a class="brand" href="${to('')}">Rowmill</a>
            <nav aria-label="Pages">
              ${pages.map(
                ([path, name]) =>
                  html`<a href="${to(path)}" ${path === current ? html`aria-current="page"` : ''}>${name}</a>`,
              )}
            </nav>
            <span class="live" hidden>live</span>
            <span class="soft hide">${user.name}${user.operator ? '' : ' · read only'}</span>
          </header>
          <main id="main" tabindex="-1">
            ${notice ? html`<p class="notice" role="status">${notice}</p>` : ''} ${body}
          </main>
        </body>
      </html>`,
  );
}

/**
 * A part that stays up to date. It is rendered with the page, for browsers without JavaScript; then the stream at
 * `path` replaces what is in it, and keeps focus, checked boxes and scroll positions.
 */
export function livePart(context: Context<Env>, path: string, body: Markup): Markup {
  return html`<div hx-sse:connect="${linkTo(context, path)}" hx-swap="innerMorph" data-live>${body}</div>`;
}
