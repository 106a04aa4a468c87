import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentError } from '../base/errors.ts';
import type { Template } from './template.ts';

/** The templates in the box. Their words are in box/: .txt, and .mjml, of which `npm run templates` makes .html. */
export type BoxTemplate = {
  /** The names under which each variable may be given, its own first. Without one of them the job fails. */
  needs: Record<string, string[]>;
  /** The same for those that may be left out. */
  may?: Record<string, string[]>;
};

const links = ['url', 'link', 'action_url', 'actionUrl'];
const name = ['name', 'user_name', 'userName', 'first_name', 'firstName'];
const expires_in = ['expires_in', 'expiresIn'];
const title = ['title', 'video_title', 'videoTitle', 'post_title', 'postTitle'];

export const boxTemplates: Record<string, BoxTemplate> = {
  welcome: { needs: { name }, may: { url: [...links, 'dashboard_url', 'dashboardUrl'] } },
  'video-complete': { needs: { title }, may: { name, url: [...links, 'video_url', 'videoUrl'] } },
  'publishing-success': {
    needs: { title, platform: ['platform'] },
    may: { name, url: [...links, 'post_url', 'postUrl'] },
  },
  'password-reset': {
    needs: { url: [...links, 'reset_url', 'resetUrl', 'reset_link', 'resetLink'] },
    may: { name, expires_in },
  },
  otp: { needs: { code: ['code', 'otp', 'otp_code', 'otpCode'] }, may: { expires_in } },
};

/** What other systems call them. */
const alsoKnownAs: Record<string, string> = {
  'video-processing-complete': 'video-complete',
  'video-processed': 'video-complete',
  'publish-success': 'publishing-success',
  'reset-password': 'password-reset',
  'otp-code': 'otp',
};

/** `tmpl_welcome` and `email-welcome` are welcome. @returns undefined if there is none */
export function boxIdOf(given: string): string | undefined {
  const plain = given
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/^(tmpl|template|email|sms|push|whatsapp|slack|webhook)-/, '');
  const id = alsoKnownAs[plain] ?? plain;
  return Object.hasOwn(boxTemplates, id) ? id : undefined;
}

/** The variables of a template in the box, by their own names. @throws PermanentError `missing_variable` */
export function boxVariables(id: string, given: Record<string, unknown>): Record<string, unknown> {
  const { needs, may = {} } = boxTemplates[id]!;
  const found = Object.entries({ ...may, ...needs }).map(([own, names]) => {
    const under = names.find((each) => Object.hasOwn(given, each) && given[each] !== null && given[each] !== '');
    if (under === undefined && own in needs)
      throw new PermanentError(
        'missing_variable',
        `Template ${id} needs the variable ${own}${names.length > 1 ? `, or one of ${names.slice(1).join(', ')}` : ''}`,
      );
    return [own, under === undefined ? '' : given[under]];
  });
  return Object.fromEntries(found) as Record<string, unknown>;
}

const loaded = new Map<string, Promise<Template>>();

/**
 * Reads a template once.
 * @param long whether it is for an email; otherwise the text is one short line, and there is no HTML
 */
export function loadBoxTemplate(id: string, long: boolean): Promise<Template> {
  const key = `${id} ${long}`;
  const template = loaded.get(key) ?? readBoxTemplate(id, long);
  loaded.set(key, template);
  return template;
}

async function readBoxTemplate(id: string, long: boolean): Promise<Template> {
  const read = (extension: string) => readFile(join(import.meta.dirname, 'box', `${id}.${extension}`), 'utf8');
  const [, subject, short, text] = /^Subject: (.*)\nShort: (.*)\n\n([^]*)$/.exec(await read('txt'))!;
  return long
    ? { id, subject: subject!, text: text!, html: await read('html') }
    : { id, subject: subject!, text: short! };
}
