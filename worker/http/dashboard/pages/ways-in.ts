import { html } from 'hono/html';
import type { Fleet } from '../../../queue/client/trouble.ts';
import { listRejected, type ListedMessage } from '../../../queue/ingest/ingest.ts';
import { empty, number, size, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, livePart, page, type Markup } from '../layout.ts';

const most = 100;
type To = (path: string) => string;

/** `ways-in`: the bridges of all workers, and the messages that could not become jobs. rejected.ts has one of them. */
export function waysInPage(http: Http, { db, shared, live }: House): void {
  http.get('/ways-in', async (context) => {
    const to: To = (path) => linkTo(context, path);
    const { source, reason } = context.req.query();
    const messages = await listRejected(db, { source: source || null, reason: reason || null, limit: most });
    const body = html`<h1 class="sr">Ways in</h1>
      ${livePart(context, 'ways-in/live', bridges(await shared.fleet()))}
      ${rejected(messages, { source: source || undefined, reason: reason || undefined }, to)}`;
    return page(context, { title: 'Ways in', current: 'ways-in', body });
  });

  http.get('/ways-in/live', (context) =>
    live.stream('ways-in', async () => bridges(await shared.fleet()), context.req.raw.signal),
  );
}

function bridges(fleet: Fleet): Markup {
  const all = fleet.workers.flatMap((worker) => worker.bridges.map((bridge) => ({ ...bridge, worker })));
  return html`<section class="sheet" aria-labelledby="bridges">
    <h2><span id="bridges">Bridges</span> <small>messages of other queues become jobs</small></h2>
    ${all.length === 0 ? noBridge : table(all)}
  </section>`;
}

const noBridge = html`<div class="empty">
  <p>No worker has a bridge. Set one of these, and restart it; or insert rows, which needs none.</p>
  <pre tabindex="0"><code>RABBITMQ_URL=amqp://user:password@host:5672
SQS_QUEUE_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/jobs
INGRESS_TOKENS=shop:a-long-secret      # POST /jobs</code></pre>
</div>`;

type BridgeRow = Fleet['workers'][number]['bridges'][number] & { worker: Fleet['workers'][number] };

const table = (all: BridgeRow[]) =>
  html`<div class="wide" tabindex="0">
    <table>
      <thead>
        <tr>
          <th>Bridge</th>
          <th>State</th>
          <th>Worker</th>
          <th class="num">Since</th>
          <th>What it says</th>
        </tr>
      </thead>
      <tbody>
        ${all.map(
          ({ bridge, connected, since, reason, worker }) =>
            html`<tr>
              <td class="name">${bridge}</td>
              <td>
                ${
                  connected
                    ? html`<span class="state completed">connected</span>`
                    : html`<span class="state failed">not connected</span>`
                }
              </td>
              <td>${worker.host} <span class="soft num">${worker.pid}</span></td>
              <td class="num soft">${time(new Date(since))}</td>
              <td class="wrap">
                ${
                  connected
                    ? ''
                    : html`${reason ?? 'It is starting.'}
                        <div class="soft">
                          Nothing is lost: messages wait where they are. It connects again by itself. If the other side
                          is up, check its address and password with <code>rowmill doctor</code> on that machine.
                        </div>`
                }
              </td>
            </tr>`,
        )}
      </tbody>
    </table>
  </div>`;

function rejected(
  messages: ListedMessage[],
  { source, reason }: Partial<Record<'source' | 'reason', string | undefined>>,
  to: To,
): Markup {
  const filtered = source !== undefined || reason !== undefined;
  return html`<section class="sheet" aria-labelledby="rejected">
    <h2>
      <span id="rejected">Rejected messages</span>
      <small>
        ${filtered ? html`${[source, reason].filter(Boolean).join(' · ')} · <a href="${to('ways-in')}">all</a>` : ''}
        ${messages.length === most ? `the newest ${most}` : number(messages.length)}
      </small>
    </h2>
    ${
      messages.length === 0
        ? empty(
            'What is no JSON, or names no queue, is kept here as it came, to be corrected and submitted again.',
            'select source, reason, count(*) from rejected_messages group by 1, 2',
          )
        : html`<div class="wide" tabindex="0">
            <table>
              <thead>
                <tr>
                  <th>Message</th>
                  <th>Way in</th>
                  <th>Key</th>
                  <th>Why</th>
                  <th class="num">Size</th>
                  <th class="num">When</th>
                </tr>
              </thead>
              <tbody>
                ${messages.map((message) => row(message, to))}
              </tbody>
            </table>
          </div>`
    }
  </section>`;
}

function row({ id, source, key, reason, error, bytes, created_at, tried_at }: ListedMessage, to: To): Markup {
  const filter = (name: string, value: string) => to(`ways-in?${name}=${encodeURIComponent(value)}`);
  return html`<tr>
    <td><a class="name" href="${to(`rejected/${id}`)}">${id}</a></td>
    <td><a class="plain" href="${filter('source', source)}">${source}</a></td>
    <td class="cut">${key}</td>
    <td class="what">
      <a class="bad" href="${filter('reason', reason)}">${reason}</a> <span class="soft">${error}</span>
    </td>
    <td class="num">${size(bytes)}</td>
    <td class="num soft">${time(created_at)}${tried_at ? html`<div>tried ${time(tried_at)}</div>` : ''}</td>
  </tr>`;
}
