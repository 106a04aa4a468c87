import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { App } from '../app.ts';
import { recordReports } from '../jobs/notification/delivery/report.ts';
import { createSendGridEvents } from '../providers/email/sendgrid-events.ts';
import type { CallbackReader } from '../providers/report.ts';
import { createTwilioCallbacks } from '../providers/twilio/callback.ts';
import { faultsTo } from './faults.ts';

/** `POST /callbacks/<provider>`: what providers report. One that is not configured is 404. */
export function callbacks(app: Pick<App, 'db' | 'config' | 'log'>): Hono {
  const http = new Hono().onError(faultsTo(app.log));
  const readers: (CallbackReader | undefined)[] = [createTwilioCallbacks(app.config), createSendGridEvents(app.config)];
  for (const reader of readers) if (reader) answer(http, reader, app);
  return http;
}

function answer(
  http: Hono,
  { name, maxBytes, read, answer: said }: CallbackReader,
  app: Pick<App, 'db' | 'config' | 'log'>,
) {
  const log = app.log.child({ provider: name });
  http.post(`/callbacks/${name}`, bodyLimit({ maxSize: maxBytes }), async (context) => {
    const { raw } = context.req;
    const body = Buffer.from(await raw.arrayBuffer());
    const reports = await read({ headers: raw.headers, body, search: new URL(raw.url).search });
    if (!reports) {
      log.warn('a callback was refused: the provider has not signed it, or long ago');
      return context.text('not signed', 403);
    }
    try {
      const { events, moved } = await recordReports(app, name, reports);
      log.debug({ reported: reports.length, events, moved }, 'a provider reported');
    } catch (error) {
      // The provider sends it again.
      log.error({ err: error }, 'a callback could not be recorded');
      return context.text('not recorded', 503);
    }
    return said ? context.body(said.body, 200, { 'content-type': said.type }) : context.body(null, 204);
  });
}
