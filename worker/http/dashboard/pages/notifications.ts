import { html } from 'hono/html';
import {
  deliveriesOf,
  deliveryCounts,
  deliveryStatuses,
  latestDeliveries,
  type Delivery,
  type DeliveryCount,
  type DeliveryEvent,
} from '../../../queue/client/deliveries.ts';
import { empty, number, time } from '../elements.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';

const most = 100;
type To = (path: string) => string;

/** `notifications`: what became of messages. No address is here: a recipient is the beginning of a hash. */
export function notificationsPage(http: Http, { db }: House): void {
  http.get('/notifications', async (context) => {
    const to: To = (path) => linkTo(context, path);
    const message = context.req.query('message')?.trim();
    if (message) {
      const body = html`${head(to, message)} ${ofMessage(message, await deliveriesOf(db, message), to)}`;
      return page(context, { title: message, current: 'notifications', body });
    }
    const status = deliveryStatuses.find((each) => each === context.req.query('status'));
    const channel = context.req.query('channel') || null;
    const [counts, latest] = await Promise.all([
      deliveryCounts(db),
      latestDeliveries(db, { status: status ?? null, channel, limit: most }),
    ]);
    const body = html`${head(to, '')} ${counted(counts, to)} ${list(latest, { status, channel }, to)}`;
    return page(context, { title: 'Notifications', current: 'notifications', body });
  });
}

const head = (to: To, message: string) =>
  html`<h1 class="sr">Notifications</h1>
    <form class="sheet search" action="${to('notifications')}" role="search">
      <label class="sr" for="message">Message id</label>
      <input
        id="message"
        type="search"
        name="message"
        value="${message}"
        placeholder="the message_id, such as order-4711"
      />
      <button class="main">Find</button>
      <a class="button" href="${to('templates')}">Templates</a>
    </form>`;

function counted(counts: DeliveryCount[], to: To): Markup {
  if (counts.length === 0) return html``;
  const channels = [...new Set(counts.map(({ channel }) => channel))];
  const statuses = deliveryStatuses.filter((status) => counts.some((each) => each.status === status));
  const many = (channel: string, status: string) =>
    counts.find((each) => each.channel === channel && each.status === status)?.deliveries ?? 0;
  const link = (deliveries: number, channel: string, status: string) => {
    const path = to(`notifications?channel=${encodeURIComponent(channel)}&status=${status}`);
    return html`<a class="${toneOf(status)}" href="${path}">${number(deliveries)}</a>`;
  };
  return html`<section class="sheet" aria-labelledby="day">
    <h2><span id="day">The last day</span> <small>deliveries by channel</small></h2>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            <th>Channel</th>
            ${statuses.map((status) => html`<th class="num">${status}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${channels.map(
            (channel) =>
              html`<tr>
                <td class="name">${channel}</td>
                ${statuses.map((status) => {
                  const deliveries = many(channel, status);
                  return html`<td class="num">
                    ${deliveries === 0 ? html`<span class="soft">0</span>` : link(deliveries, channel, status)}
                  </td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
}

const bad = ['failed', 'bounced'];
const toneOf = (status: string) => (bad.includes(status) ? 'bad' : status === 'ambiguous' ? 'late' : 'plain');

/** Told by word, colour and shape, as the state of a job. */
function stateOf(status: string): Markup {
  const shapes: Record<string, string> = { queued: 'pending', sending: 'processing', skipped: 'cancelled' };
  const shape = shapes[status] ?? (bad.includes(status) ? 'failed' : status === 'ambiguous' ? 'doubt' : 'completed');
  return html`<span class="state ${shape}">${status}</span>`;
}

function list(latest: Delivery[], filter: { status: string | undefined; channel: string | null }, to: To): Markup {
  const chosen = [filter.channel, filter.status].filter(Boolean).join(' · ');
  return html`<section class="sheet" aria-labelledby="latest">
    <h2>
      <span id="latest">Deliveries</span>
      <small>${chosen ? html`${chosen} · <a href="${to('notifications')}">all</a> · ` : ''}the latest first</small>
    </h2>
    ${
      latest.length > 0
        ? table(latest, to)
        : empty(
            chosen ? `None is ${chosen} among the last 10,000.` : 'Nobody was told anything yet.',
            chosen
              ? 'select channel, status, count(*) from notification_deliveries group by 1, 2'
              : `insert into notification_jobs (kind, payload)
values ('email', '{"to": "ada@example.com", "template_id": "welcome", "variables": {"name": "Ada"}}')`,
          )
    }
    ${
      filter.status === 'ambiguous' && latest.length > 0
        ? html`<p class="foot">
            Nobody knows whether these went out: the provider did not answer. Look at the provider; a retry of the job
            sends again.
          </p>`
        : ''
    }
  </section>`;
}

const table = (deliveries: Delivery[], to: To) =>
  html`<div class="wide" tabindex="0">
    <table>
      <thead>
        <tr>
          <th>Message</th>
          <th>Channel</th>
          <th>State</th>
          <th>Recipient</th>
          <th>Provider</th>
          <th class="num">Job</th>
          <th class="num">When</th>
        </tr>
      </thead>
      <tbody>
        ${deliveries.map((delivery) => row(delivery, to))}
      </tbody>
    </table>
  </div>`;

function row(delivery: Delivery, to: To): Markup {
  const { message_id, template_id, channel, status, recipient, provider, error_code, job_id, updated_at } = delivery;
  return html`<tr>
    <td class="cut">
      <a class="name" href="${to(`notifications?message=${encodeURIComponent(message_id)}`)}">${message_id}</a>
      ${template_id === null ? '' : html`<span class="soft">${template_id}</span>`}
    </td>
    <td>${channel}</td>
    <td>${stateOf(status)} ${error_code === null ? '' : html`<span class="bad">${error_code}</span>`}</td>
    <td class="mono soft">${recipient}…</td>
    <td>${provider ?? '–'}</td>
    <td class="num">${job_id === null ? '–' : html`<a href="${to(`jobs/${job_id}`)}">${job_id}</a>`}</td>
    <td class="num soft">${time(updated_at)}</td>
  </tr>`;
}

type OfMessage = { deliveries: Delivery[]; events: DeliveryEvent[] };

function ofMessage(message: string, { deliveries, events }: OfMessage, to: To): Markup {
  return html`<section class="sheet" aria-labelledby="found">
      <h2>
        <span id="found">${message}</span>
        <small>${deliveries.length === 1 ? '1 delivery' : `${number(deliveries.length)} deliveries`}</small>
      </h2>
      ${
        deliveries.length > 0
          ? table(deliveries, to)
          : empty(
              'No delivery of a message with this id.',
              `select id, status from notification_jobs
 where payload ->> 'message_id' = '${message.replaceAll("'", "''")}'`,
            )
      }
    </section>
    ${events.length === 0 ? '' : eventList(events)}`;
}

const eventList = (events: DeliveryEvent[]) =>
  html`<section class="sheet" aria-labelledby="events">
    <h2><span id="events">What the provider reported</span></h2>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            <th>Event</th>
            <th>Provider</th>
            <th>Detail</th>
            <th class="num">When</th>
          </tr>
        </thead>
        <tbody>
          ${events.map(
            ({ event, provider, detail, at }) =>
              html`<tr>
                <td class="name">${event}</td>
                <td>${provider}</td>
                <td class="mono wrap">${JSON.stringify(detail)}</td>
                <td class="num soft">${time(at)}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </section>`;
