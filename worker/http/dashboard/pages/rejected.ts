import type { Context } from 'hono';
import { html } from 'hono/html';
import { UsageError } from '../../../base/errors.ts';
import { sealerOf } from '../../../queue/client/add.ts';
import {
  correctRejected,
  deleteRejected,
  resubmit,
  showRejected,
  type RejectedMessage,
} from '../../../queue/ingest/ingest.ts';
import { operatorOf, type Env } from '../access.ts';
import { acted, fieldOf } from '../act.ts';
import { size, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';
import { button, type Way } from '../trouble.ts';

/** A larger body is shown up to here, and can only be submitted as it is. */
const mostShown = 200_000;

/** `rejected/ID`: a message as it came; submit it again, also with another key or body; delete it. */
export function rejectedPage(http: Http, { app, db, registry }: House): void {
  http.get('/rejected/:id{[0-9]{1,18}}', async (context) => {
    const message = await showRejected(db, Number(context.req.param('id')));
    if (!message) return context.notFound();
    const body = show(wayOf(context), message, app.config.dashboard.hidePayloads);
    const title = `Rejected message ${message.id}`;
    return page(context, { title, current: 'ways-in', body });
  });

  http.post('/rejected/resubmit', async (context) => {
    operatorOf(context);
    const id = idIn(await fieldOf(context, 'id'));
    const { key, body } = await context.req.parseBody();
    // A form sends lines as CRLF, whatever they were.
    if (typeof key === 'string' && typeof body === 'string')
      await correctRejected(db, id, { key, body: Buffer.from(body.replaceAll('\r\n', '\n')) });
    const [result] = await resubmit(db, [id], sealerOf(registry, app.config.keyring));
    if (!result) throw new UsageError(`There is no rejected message ${id}: it may be a job already`);
    const done = { action: 'resubmit', subject: `message ${id}`, many: result.outcome === 'rejected' ? 0 : 1 };
    if (result.outcome === 'rejected')
      return acted(context, db, done, `rejected/${id}`, `It was rejected again: ${result.error}`);
    const words = `Message ${id} is job ${result.id}${result.outcome === 'known' ? ', which came before' : ''}`;
    return acted(context, db, done, 'ways-in', words);
  });

  http.post('/rejected/delete', async (context) => {
    operatorOf(context);
    const id = idIn(await fieldOf(context, 'id'));
    const { length: many } = await deleteRejected(db, [id]);
    const words = many > 0 ? `Message ${id} is deleted` : `Message ${id} was gone already`;
    return acted(context, db, { action: 'delete_rejected', subject: `message ${id}`, many }, 'ways-in', words);
  });
}

function idIn(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new UsageError('There is no such message');
  return Number(text);
}

const wayOf = (context: Context<Env>): Way => ({
  to: (path) => linkTo(context, path),
  operator: context.get('user').operator,
});

function show(way: Way, message: RejectedMessage, hidden: boolean): Markup {
  const { id, source, key, message_id, reason, error, body, headers, created_at, tried_at } = message;
  const code = (text: string) => html`<code>${text}</code>`;
  const fact = (name: string, value: Markup | string) =>
    html`<dt>${name}</dt>
      <dd>${value}</dd>`;
  return html`<div class="title">
      <h1>Rejected message ${id}</h1>
      <span class="bad">${reason}</span>
    </div>
    <p class="notice problem">${error}</p>
    <div class="two">
      ${hidden ? noBody : bodyOf(way, message)}
      <div class="stack">
        <section class="sheet">
          <h2>Message</h2>
          <dl class="facts">
            ${fact('way in', source)} ${fact('key', html`<code>${key}</code>`)}
            ${message_id === null ? '' : fact('id', html`<code>${message_id}</code>`)} ${fact('came', time(created_at))}
            ${tried_at ? fact('tried again', time(tried_at)) : ''} ${fact('size', size(body.length))}
            ${fact('SQL', html`<code>select * from rejected_messages where id = ${id}</code>`)}
          </dl>
        </section>
        ${
          hidden || Object.keys(headers).length === 0
            ? ''
            : html`<section class="sheet">
                <h2>Headers</h2>
                <dl class="facts">
                  ${Object.entries(headers).map(([name, value]) => fact(name, code(JSON.stringify(value))))}
                </dl>
              </section>`
        }
        ${
          way.operator
            ? html`<details class="sheet">
                <summary>Delete it</summary>
                <div class="pad row">
                  <span>The message is gone then.</span>
                  ${button(way, 'rejected/delete', 'Delete', { id: String(id) }, 'danger')}
                </div>
              </details>`
            : ''
        }
      </div>
    </div>`;
}

const noBody = html`<section class="sheet">
  <h2>Body</h2>
  <p class="pad soft">Payloads are hidden: DASHBOARD_HIDE_PAYLOADS.</p>
</section>`;

function bodyOf({ to, operator }: Way, { id, key, body }: RejectedMessage): Markup {
  const text = textOf(body);
  const path = to('rejected/resubmit');
  const which = html`<input type="hidden" name="id" value="${id}" />`;
  const asItIs = html`<form class="foot" method="post" action="${path}">
    ${which}<span>No text that could be edited here.</span><button>Submit it as it is</button>
  </form>`;
  if (!operator || text === undefined)
    return html`<section class="sheet">
      <h2>Body</h2>
      <pre class="json" tabindex="0">${text ?? body.toString('utf8').slice(0, mostShown)}</pre>
      ${operator ? asItIs : ''}
    </section>`;
  return html`<form class="sheet" method="post" action="${path}" aria-labelledby="body">
    ${which}
    <h2><label id="body" for="f-body">Body</label> <small>correct it here</small></h2>
    <div class="form">
      <label for="f-key">Key</label>
      <input id="f-key" name="key" value="${key}" maxlength="1000" autocomplete="off" />
      <textarea id="f-body" name="body" spellcheck="false" rows="18">${text}</textarea>
      <p class="soft">The key names the kind, as <code>media.image</code> does. The body is its payload as JSON.</p>
      <div class="all"><button class="main">Submit it again</button></div>
    </div>
  </form>`;
}

/** @returns undefined for what a form would change: bytes that are no text, or too many */
function textOf(body: Buffer): string | undefined {
  if (body.length > mostShown) return undefined;
  const text = body.toString('utf8');
  return Buffer.from(text).equals(body) && !text.includes('\0') ? text : undefined;
}
