import { loadStatements, query, type Queryable } from '../../../base/db/sql.ts';
import { PermanentError } from '../../../base/errors.ts';
import { boxIdOf, boxTemplates, boxVariables, loadBoxTemplate } from '../../../templates/box.ts';
import { onOneLine, plainText, renderTemplate, type Words } from '../../../templates/template.ts';
import type { Notice } from './notice.ts';

const sql = loadStatements(import.meta.dirname, 'render.sql', ['find_template', 'list_templates']);

type Wanted = Pick<Notice, 'template_id' | 'variables' | 'title' | 'body' | 'locale'>;

/**
 * The words of a message: of a row of notification_templates, of a template in the box, or of the notice itself.
 * @param defaultLocale of which there is a template if there is none in the locale of the notice
 * @throws PermanentError `template_not_found`, `invalid_payload`, and what `renderTemplate` throws
 */
export async function render(
  db: Queryable | undefined,
  channel: string,
  notice: Wanted,
  defaultLocale: string,
): Promise<Words> {
  const words = await wordsOf(db, channel, notice, defaultLocale);
  const subject = onOneLine(beginOf(words.subject, longestSubject));
  const text = plainText(words.text);
  if (!subject && !text) throw new PermanentError('invalid_payload', 'payload: has no text');
  return { subject, text, ...(words.html === undefined ? {} : { html: plainText(words.html) }) };
}

/** As long as a title may be: a variable may be longer. */
const longestSubject = 1_000;

/** An emoji is two characters for JavaScript: half of one is left out. */
const beginOf = (text: string, most: number) => text.slice(0, most).replace(/[\ud800-\udbff]$/, '');

async function wordsOf(
  db: Queryable | undefined,
  channel: string,
  notice: Wanted,
  defaultLocale: string,
): Promise<Words> {
  const { template_id: id, variables, title, body } = notice;
  const long = channel === 'email';
  if (id === undefined) {
    if (!title && !body)
      throw new PermanentError('invalid_payload', 'payload: has neither a template nor a title and a body');
    return long ? plainEmail(notice) : { subject: title ?? '', text: body ?? title ?? '' };
  }
  // A variable that is there and undefined is not missing for Handlebars, but empty.
  const own = { ...(title === undefined ? {} : { title }), ...(body === undefined ? {} : { body }) };
  const box = boxIdOf(id);
  const locales = [...chainOf(notice.locale), ...chainOf(defaultLocale), ''];
  const ids = [id, ...(box ? [box] : [])];
  const [row] = db ? await query<Row>(db, sql.find_template, { ids, locales, channel }) : [];
  if (row) {
    const template = {
      id: row.id,
      subject: row.subject ?? title ?? '',
      text: row.text ?? '',
      html: row.html ?? undefined,
    };
    const words = await renderTemplate(template, { ...own, ...variables });
    return words.text ? words : { ...words, text: textOf(words.html ?? '') };
  }
  if (!box) throw new PermanentError('template_not_found', `There is no template ${id} for ${channel}`);
  return renderTemplate(await loadBoxTemplate(box, long), boxVariables(box, { ...own, ...variables }));
}

type Row = { id: string; subject: string | null; html: string | null; text: string | null };

/** `pt-BR`, `pt`. */
function chainOf(locale: string | undefined): string[] {
  const parts = locale?.split('-') ?? [];
  return parts.map((_, n) => parts.slice(0, parts.length - n).join('-'));
}

/** A title and a body as an email. Each address in the variables is a button, named after its key. */
async function plainEmail({ variables, title, body = '' }: Wanted): Promise<Words> {
  const links = Object.entries(variables).flatMap(([key, url]) =>
    typeof url === 'string' && /^https?:\/\/\S+$/.test(url) ? [{ label: labelOf(key), url }] : [],
  );
  const paragraphs = body.split(/\n\s*\n/).filter((paragraph) => paragraph.trim());
  const { expiresIn, expires_in = expiresIn } = variables;
  const shown = {
    title: title ?? beginOf(paragraphs[0] ?? '', 100),
    preview: beginOf(paragraphs[0] ?? '', 100),
    paragraphs,
    links,
    expires_in: typeof expires_in === 'string' ? expires_in : '',
  };
  return renderTemplate(await loadBoxTemplate('message', true), shown);
}

/** `resetLink` is Reset link. */
function labelOf(key: string): string {
  const words = key
    .replaceAll(/([a-z\d])([A-Z])/g, '$1 $2')
    .replaceAll(/[_-]+/g, ' ')
    .trim()
    .toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Of a template that has no text of its own. In one pass: a variable may bring tags without an end. */
function textOf(html: string): string {
  let text = '';
  let hidden: string | undefined;
  for (const part of html.split(/(<[^<>]*>)/)) {
    const [tag, isEnd, name = ''] = /^<(\/?)([a-z\d]*)[^<>]*>$/.exec(part.toLowerCase()) ?? [];
    if (hidden !== undefined) {
      if (isEnd && name === hidden) hidden = undefined;
    } else if (/^(style|script|head|title)$/.test(name)) hidden = name;
    else if (name === 'br' || (isEnd && /^(p|div|tr|h\d|li)$/.test(name))) text += '\n';
    else if (tag === undefined) text += part;
  }
  return text.replaceAll(/\s+/g, (space) => (space.includes('\n') ? '\n' : ' ')).trim();
}

export type ListedTemplate = { id: string; channel: string; locale: string; from: 'row' | 'box'; variables: string };

/** The rows, and the templates in the box; a variable in brackets may be left out. */
export async function listTemplates(db: Queryable | undefined): Promise<ListedTemplate[]> {
  const own = db ? await query<Pick<ListedTemplate, 'id' | 'channel' | 'locale'>>(db, sql.list_templates) : [];
  const boxed = Object.entries(boxTemplates).map(([id, { needs, may = {} }]) => ({
    id,
    channel: 'all',
    locale: 'en',
    from: 'box' as const,
    variables: [...Object.keys(needs), ...Object.keys(may).map((name) => `[${name}]`)].join(' '),
  }));
  return [...own.map((row) => ({ ...row, from: 'row' as const, variables: '' })), ...boxed];
}
