import { html } from 'hono/html';
import { messageOf, PermanentError, UsageError } from '../../../base/errors.ts';
import { listTemplates, render, type ListedTemplate } from '../../../jobs/notification/delivery/render.ts';
import type { House, Http } from '../house.ts';
import { linkTo, page, type Markup } from '../layout.ts';

const channels = ['email', 'sms', 'whatsapp', 'push', 'slack'];

/** What a mail program allows: styles and pictures, no script, no form, nothing of another frame. */
const mailPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src https: data:; sandbox";

/**
 * `templates` and `template?id=`: the words of notifications, with data to try. The HTML of a message is a document of
 * its own, in a frame without scripts, whose policy holds also where somebody opens it alone.
 */
export function templatesPage(http: Http, { db, app }: House): void {
  http.get('/templates', async (context) => {
    const to = (path: string) => linkTo(context, path);
    const body = list(await listTemplates(db), to);
    return page(context, { title: 'Templates', current: 'notifications', body });
  });

  http.get('/template', async (context) => {
    const wanted = readWanted(context.req.query());
    const found = (await listTemplates(db)).find(({ id }) => id === wanted.id);
    const data = wanted.data ?? JSON.stringify(sampleOf(found?.variables ?? ''), null, 2);
    const words = await wordsOf({ ...wanted, data }).catch((error: unknown) => {
      if (error instanceof PermanentError || error instanceof UsageError) return messageOf(error);
      throw error;
    });
    const body = preview({ ...wanted, data }, words, (path) => linkTo(context, path));
    return page(context, { title: wanted.id, current: 'notifications', body });
  });

  http.get('/template/html', async (context) => {
    const { html: words, text } = await wordsOf(readWanted(context.req.query()));
    context.header('content-security-policy', mailPolicy);
    // Ours alone may frame it.
    context.header('x-frame-options', 'SAMEORIGIN');
    return context.html(words ?? html`<pre tabindex="0">${text}</pre>`);
  });

  async function wordsOf({ id, channel, locale, data }: Wanted) {
    const notice = { template_id: id, variables: parsed(data ?? '{}'), title: undefined, body: undefined, locale };
    return render(db, channel, notice, app.config.notification.locale);
  }
}

function preview(wanted: Wanted & { data: string }, words: Words | string, to: (path: string) => string): Markup {
  const { id, channel, locale = '', data } = wanted;
  const query = new URLSearchParams({ id, channel, locale, data }).toString();
  return html`<div class="title">
      <h1>${id}</h1>
      <span class="soft">what a message says</span>
      <div class="do"><a class="button" href="${to('templates')}">All templates</a></div>
    </div>
    <div class="two turned">
      ${form(wanted, to)}
      <section class="sheet" aria-labelledby="subject">
        ${
          typeof words === 'string'
            ? html`<h2><span id="subject">Preview</span></h2>
                <p class="fault" role="alert">${words}</p>`
            : html`<h2><span id="subject">${words.subject}</span> <small>${channel}</small></h2>
                ${
                  words.html === undefined
                    ? ''
                    : html`<iframe
                        class="mail"
                        sandbox
                        title="The message ${id}"
                        src="${to(`template/html?${query}`)}"
                      ></iframe>`
                }
                <details ${words.html === undefined ? 'open' : ''}>
                  <summary>As text</summary>
                  <pre class="wrap" tabindex="0">${words.text}</pre>
                </details>`
        }
      </section>
    </div>`;
}

type Words = Awaited<ReturnType<typeof render>>;
type Wanted = { id: string; channel: string; locale: string | undefined; data: string | undefined };

function readWanted({ id = '', channel = '', locale, data }: Record<string, string>): Wanted {
  return { id, channel: channels.includes(channel) ? channel : 'email', locale: locale || undefined, data };
}

/** @throws UsageError */
function parsed(data: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch (error) {
    throw new UsageError(`data: ${messageOf(error)}`, { cause: error });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UsageError('data: must be a JSON object, the variables by name');
}

const samples: Record<string, string> = {
  name: 'Ada',
  title: 'Holiday in Kathmandu',
  platform: 'YouTube',
  code: '123456',
  url: 'https://example.com/x',
  expires_in: '10 minutes',
};

/** Something for each variable of a template in the box. @param variables such as `title [name]` */
function sampleOf(variables: string): Record<string, string> {
  const names = variables.split(' ').filter(Boolean);
  return Object.fromEntries(
    names.map((each) => each.replace(/^\[(.*)\]$/, '$1')).map((name) => [name, samples[name] ?? `some ${name}`]),
  );
}

const list = (all: ListedTemplate[], to: (path: string) => string) =>
  html`<section class="sheet" aria-labelledby="templates">
    <h2><span id="templates">Templates</span> <small>a row goes before the template in the box</small></h2>
    <div class="wide" tabindex="0">
      <table>
        <thead>
          <tr>
            <th>Template</th>
            <th>Channel</th>
            <th>Locale</th>
            <th>From</th>
            <th>Variables</th>
          </tr>
        </thead>
        <tbody>
          ${all.map(({ id, channel, locale, from, variables }) => {
            const query = new URLSearchParams({ id, ...(from === 'row' ? { channel, locale } : {}) }).toString();
            return html`<tr>
              <td><a class="name" href="${to(`template?${query}`)}">${id}</a></td>
              <td>${channel}</td>
              <td>${locale || 'all'}</td>
              <td>
                ${from === 'row' ? html`<code>notification_templates</code>` : html`<span class="soft">the box</span>`}
              </td>
              <td class="mono">${variables}</td>
            </tr>`;
          })}
        </tbody>
      </table>
    </div>
  </section>`;

const form = ({ id, channel, locale, data }: Wanted, to: (path: string) => string) =>
  html`<form class="sheet" action="${to('template')}" aria-label="What to fill in">
    <h2>Sample data</h2>
    <input type="hidden" name="id" value="${id}" />
    <div class="form">
      <label for="channel">Channel</label>
      <select id="channel" name="channel">
        ${channels.map((each) => html`<option ${each === channel ? 'selected' : ''}>${each}</option>`)}
      </select>
      <label for="locale">Locale</label>
      <input id="locale" name="locale" value="${locale ?? ''}" placeholder="such as pt-BR" maxlength="20" />
      <label class="all" for="data">Variables, as JSON</label>
      <textarea id="data" name="data" class="short" spellcheck="false">${data}</textarea>
      <div class="all"><button class="main">Preview</button></div>
    </div>
  </form>`;
