import { PermanentError } from '../base/errors.ts';

/** Handlebars, each part by itself. https://handlebarsjs.com/guide/ */
export type Template = {
  id: string;
  subject: string;
  text: string;
  html?: string | undefined;
};

/** What a message says. */
export type Words = { subject: string; text: string; html?: string };

type Engine = typeof import('handlebars');
type Render = (variables: object) => string;

let engine: Promise<Engine> | undefined;
const rendered = new Map<string, Render>();
const mostKept = 1_000;

/**
 * Fills in the variables. Only the HTML is escaped.
 * @throws PermanentError `missing_variable` for one that the template names and nobody gave; `unsafe_link`;
 *   `invalid_template`
 */
export async function renderTemplate(template: Template, variables: Record<string, unknown>): Promise<Words> {
  engine ??= import('handlebars').then(({ default: handlebars }) => prepare(handlebars.create()));
  const handlebars = await engine;
  const fill = (source: string, noEscape: boolean) => fillIn(handlebars, template.id, source, noEscape, variables);
  return {
    subject: fill(template.subject, true),
    text: fill(template.text, true).trim(),
    ...(template.html ? { html: withSafeLinks(fill(template.html, false)) } : {}),
  };
}

/** The text on one line: a header ends at a newline. Without control characters, which terminals and phones obey. */
export const onOneLine = (text: string) =>
  text
    .toWellFormed()
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim();

/** The text without control characters, but with its newlines and tabs. */
export const plainText = (text: string) =>
  text
    .toWellFormed()
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll(/[^\P{Cc}\n\t]/gu, '')
    .trim();

/** Browsers ignore spaces and control characters in front of the scheme, and newlines and tabs in it. */
const script =
  /\s(?:href|src|action|formaction|background)\s*=["'\s\p{Cc}]*(?:j\s*a\s*v\s*a|v\s*b)\s*s\s*c\s*r\s*i\s*p\s*t\s*:/iu;
const page = /\s(?:href|action|formaction)\s*=["'\s\p{Cc}]*d\s*a\s*t\s*a\s*:/iu;

/** A template of yours may write a link without `safeUrl`. @throws PermanentError `unsafe_link` */
function withSafeLinks(html: string): string {
  if (!script.test(html) && !page.test(html)) return html;
  throw new PermanentError('unsafe_link', 'A link begins with javascript:, vbscript: or data:');
}

function prepare(handlebars: Engine): Engine {
  handlebars.registerHelper('safeUrl', (url: unknown) => {
    if (url === undefined) throw new PermanentError('missing_variable', 'A link has no address');
    const parsed = typeof url === 'string' ? URL.parse(url) : null;
    if (parsed && /^(https?|mailto):$/.test(parsed.protocol)) return parsed.href;
    throw new PermanentError('unsafe_link', 'A link is no address that begins with https://, http:// or mailto:');
  });
  return handlebars;
}

function fillIn(handlebars: Engine, id: string, source: string, noEscape: boolean, variables: object): string {
  const key = `${noEscape} ${source}`;
  try {
    let render = rendered.get(key);
    if (!render) {
      const options = { strict: true, noEscape, knownHelpersOnly: true, knownHelpers: { safeUrl: true } };
      render = handlebars.compile(source, options) as Render;
      if (rendered.size >= mostKept) rendered.clear();
      rendered.set(key, render);
    }
    return render(variables);
  } catch (error) {
    if (error instanceof PermanentError) throw error;
    const missing = /^"([\w.$-]{1,100})" not defined/.exec(error instanceof Error ? error.message : '')?.[1];
    if (missing) throw new PermanentError('missing_variable', `Template ${id} needs the variable ${missing}`);
    throw new PermanentError('invalid_template', `Template ${id} cannot be rendered: check its Handlebars`, {
      cause: error,
    });
  }
}
