import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { App } from '../../worker/app.ts';
import { dashboard } from '../../worker/http/dashboard/dashboard.ts';
import { listen, routes } from '../../worker/http/server.ts';
import type { Registry } from '../../worker/queue/registry.ts';
import { findChromium, startChromium } from './browser.ts';
import { createRig, type Env, type Handler, type Rig } from './worker.ts';

export const operator = 'ada:correct horse';
export const reader = 'eve:only looking';

/** A worker, and its dashboard over a socket. */
export type Served = Rig & {
  app: App;
  /** Of the dashboard, with a slash. */
  url: string;
  /** @param as `user:password`; null: nobody */
  get(path: string, as?: string | null, headers?: Env): Promise<Response>;
  /** Posts a form, as a browser does from a page of ours. */
  post(
    path: string,
    form?: Record<string, string | string[]>,
    options?: { as?: string; headers?: Env },
  ): Promise<Response>;
};

/** @param pathTo where the pages reach Postgres, by its own address */
export async function serveDashboard(
  handlers: Registry | Record<string, Handler>,
  env: Env = {},
  pathTo: (databaseUrl: string) => Promise<string> = async (url) => url,
): Promise<Served> {
  const rig = await createRig();
  const [, password] = operator.split(':');
  const [, readonly] = reader.split(':');
  const worker = await rig.worker(handlers, {
    DASHBOARD_PASSWORD: password!,
    DASHBOARD_READONLY_PASSWORD: readonly!,
    ...env,
  });
  const registry = handlers instanceof Map ? (handlers as Registry) : new Map();
  const pages = dashboard(worker.app, await pathTo(rig.db.url), { worker, registry, bridges: undefined });
  const server = await listen(routes(worker, [pages.http]), { host: '127.0.0.1', port: 0 });
  const url = `http://127.0.0.1:${server.port}${worker.app.config.dashboard.path}/`;
  const authorization = (as: string | null): Env =>
    as === null ? {} : { authorization: `Basic ${Buffer.from(as).toString('base64')}` };
  return {
    ...rig,
    app: worker.app,
    url,
    get: (path, as = operator, headers = {}) =>
      fetch(url + path, { headers: { ...authorization(as), ...headers }, redirect: 'manual' }),
    post(path, form = {}, { as = operator, headers = { 'sec-fetch-site': 'same-origin' } } = {}) {
      const body = new URLSearchParams();
      for (const [name, value] of Object.entries(form)) for (const each of [value].flat()) body.append(name, each);
      const init = { method: 'POST', body, redirect: 'manual' } as const;
      return fetch(url + path, { ...init, headers: { ...authorization(as), ...headers } });
    },
    async close() {
      await server.close();
      await pages.close();
      await rig.close();
    },
  };
}

/** A page of a browser, which fails the test if a script fails or something is refused by the policy. */
export type Opened = { page: Page; context: BrowserContext; faults: string[] };

export const chromium = findChromium();
export const withoutChromium = chromium === undefined && 'there is no Chromium: CHROMIUM_PATH';

let browser: Promise<Browser> | undefined;

export async function openPage(as = operator, options: Parameters<Browser['newContext']>[0] = {}): Promise<Opened> {
  browser ??= startChromium(chromium!);
  const [username, password] = as.split(':') as [string, string];
  // `send: always`, so that a 401 is no console error.
  const context = await (
    await browser
  ).newContext({ httpCredentials: { username, password, send: 'always' }, ...options });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()));
  return { page, context, faults };
}

export const closeBrowser = async (): Promise<void> => (await browser)?.close();

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Checks that a page can be used with a screen reader and a keyboard: no fault that axe-core calls serious. */
export async function checkAccessible(page: Page): Promise<void> {
  // By evaluate, because the policy of the page refuses injected scripts.
  await page.evaluate(axe);
  type Violation = { id: string; impact: string; nodes: { html: string; failureSummary: string }[] };
  const found = await page.evaluate<{ violations: Violation[] }>(`axe.run(document, { resultTypes: ['violations'] })`);
  const serious = found.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  assert.deepEqual(
    serious.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join('; ')}`,
    ),
    [],
  );
}
