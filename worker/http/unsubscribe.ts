import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { html } from 'hono/html';
import type { App } from '../app.ts';
import { unsubscribe } from '../jobs/notification/delivery/report.ts';
import { readUnsubscribeToken } from '../jobs/notification/delivery/unsubscribe-link.ts';
import { faultsTo } from './faults.ts';
import { pageHeaders, pageOf } from './page.ts';

/**
 * `POST /unsubscribe/:token`, which mail programs send with one click. A GET changes nothing, because programs that
 * look for viruses follow links. https://www.rfc-editor.org/rfc/rfc8058
 */
export function unsubscribing(app: Pick<App, 'db' | 'config' | 'log'>): Hono {
  const http = new Hono().onError(faultsTo(app.log));
  const { publicUrl, production, notification } = app.config;
  // Without HASH_KEY, anybody could make the token.
  if (!publicUrl || (production && notification.hashKeys.length === 0)) return http;
  http.get('/unsubscribe/:token', (context) => {
    const found = readUnsubscribeToken(app.config, context.req.param('token'));
    if (!found) return context.notFound();
    const button = html`<form method="post"><button>Unsubscribe</button></form>`;
    return context.html(
      page(
        html`<p>Do you want no more mail of the list <b>${found.list}</b>?</p>
          ${button}`,
      ),
      200,
      headers,
    );
  });
  http.post('/unsubscribe/:token', bodyLimit({ maxSize: 10_000 }), async (context) => {
    const found = readUnsubscribeToken(app.config, context.req.param('token'));
    if (!found) return context.notFound();
    try {
      await unsubscribe(app, found.recipient_hash, found.list);
    } catch (error) {
      app.log.error({ err: error }, 'a recipient could not be unsubscribed');
      return context.html(page(html`<p>That did not work. Please try again later.</p>`), 503, headers);
    }
    return context.html(page(html`<p>You get no more mail of the list <b>${found.list}</b>.</p>`), 200, headers);
  });
  return http;
}

const page = pageOf('Unsubscribe');
const headers = pageHeaders(`'self'`);
