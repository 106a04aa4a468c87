import type { App } from '../../../app.ts';
import { PermanentError } from '../../../base/errors.ts';
import type { Notice } from './notice.ts';

/** What a message says. */
export type Words = { subject: string; text: string; html?: string };

/** @throws PermanentError `template_not_found`, `invalid_payload` */
export async function render(_app: App, channel: string, { template_id, title, body }: Notice): Promise<Words> {
  if (template_id !== undefined)
    throw new PermanentError('template_not_found', `There is no template ${template_id} for ${channel}`);
  if (!title && !body)
    throw new PermanentError('invalid_payload', 'payload: has neither a template nor a title and a body');
  return { subject: title ?? '', text: body ?? title ?? '' };
}
