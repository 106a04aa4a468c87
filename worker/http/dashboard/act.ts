import type { Context, MiddlewareHandler } from 'hono';
import { UsageError } from '../../base/errors.ts';
import type { Queryable } from '../../base/db/sql.ts';
import { logAction, readAction } from '../../queue/client/actions.ts';
import { operatorOf, type Env } from './access.ts';
import { linkTo } from './layout.ts';

// What every handler that changes something does: it reads its form, and writes down what was done.

type Done = { action: string; subject: string; many: number; settings?: object };

/**
 * Writes down what an operator did, and leads back to a page, which says so.
 * @param words what became of it
 */
export async function acted(
  context: Context<Env>,
  db: Queryable,
  { action, subject, many, settings = {} }: Done,
  path: string,
  words: string,
): Promise<Response> {
  const { name: who } = operatorOf(context);
  const id = await logAction(db, { who, action, subject, settings, outcome: words, changed: many });
  return context.redirect(`${linkTo(context, path)}${path.includes('?') ? '&' : '?'}done=${id}`, 303);
}

/** A page that an action led to says what was done: as the table has it, not as the address says. */
export const telling =
  (db: Queryable): MiddlewareHandler<Env> =>
  async (context, next) => {
    const id = context.req.query('done') ?? '';
    if (/^\d{1,15}$/.test(id)) context.set('notice', (await readAction(db, Number(id)))?.outcome);
    await next();
  };

/** A field of a form. @throws UsageError if it is missing or empty */
export async function fieldOf(context: Context<Env>, name: string): Promise<string> {
  const value = (await context.req.parseBody())[name];
  if (typeof value !== 'string' || value.trim() === '') throw new UsageError(`The form lacks ${name}`);
  return value;
}

/** An id of a path or a form. Undefined: it is none. */
export const idOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;

/** A time of a form: with a zone, or as UTC. */
export function timeOf(text: string): Date {
  const time = new Date(/[Zz]|[+-]\d\d:?\d\d$/.test(text) ? text : `${text}Z`);
  if (Number.isNaN(time.getTime()) || time.getUTCFullYear() < 1 || time.getUTCFullYear() > 9_999)
    throw new UsageError(`${text.slice(0, 60)} is no time, such as 2026-01-31T12:00Z`);
  return time;
}

/** A priority of a form. */
export function priorityOf(text: string): number {
  const priority = Number(text);
  if (!/^-?\d{1,5}$/.test(text.trim()) || priority < -32_768 || priority > 32_767)
    throw new UsageError('A priority is a whole number from -32768 to 32767');
  return priority;
}
