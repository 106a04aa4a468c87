import { Hono } from 'hono';
import { html } from 'hono/html';
import type { App } from '../app.ts';
import { endConnect } from '../jobs/social/account/connect.ts';
import { platforms } from '../providers/social/social.ts';
import { faultsTo } from './faults.ts';
import { pageHeaders, pageOf } from './page.ts';

/**
 * `GET /connect/<platform>`: where a platform leads the owner of an account back to, with a code. The way begins with
 * the link of `rowmill account connect`. A platform without its app, its redirect URI, or without SEAL_KEYS is 404.
 */
export function connecting(app: Pick<App, 'db' | 'config' | 'social' | 'log'>): Hono {
  const http = new Hono().onError(faultsTo(app.log));
  const { keyring, social } = app.config;
  for (const platform of platforms) {
    if (!keyring || !social[platform].app || !social[platform].redirectUri) continue;
    http.get(`/connect/${platform}`, async (context) => {
      const { state, code, error } = context.req.query();
      const ended = await endConnect(app, platform, { state, code, error });
      if (ended.is === 'refused') {
        app.log.warn({ platform }, 'an account was not connected');
        return context.html(page(html`<p>${ended.why}</p>`), 400, headers);
      }
      const ids = ended.accounts.map(({ id }) => id);
      app.log.info({ platform, account_ids: ids }, 'an account was connected');
      const names = ended.accounts.map(({ name }) => name).join(', ');
      return context.html(page(html`<p>Connected on ${platform}: <b>${names}</b></p>`), 200, headers);
    });
  }
  return http;
}

const page = pageOf('Connect an account');
const headers = pageHeaders(`'none'`);
