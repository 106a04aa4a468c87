import type { Context } from 'hono';
import type { Queryable } from '../../base/db/sql.ts';
import { UsageError } from '../../base/errors.ts';
import { operatorOf, type Env } from './access.ts';
import { linkTo } from './layout.ts';

// What every handler that changes something does: it reads its form, and tells what was done.

type Done = { action: string; subject: string; many: number; settings?: object };

/**
 * Leads back to a page after an operator did something.
 * @param words what became of it
 */
export async function acted(
  context: Context<Env>,
  _db: Queryable,
  _done: Done,
  path: string,
  _words: string,
): Promise<Response> {
  operatorOf(context);
  return context.redirect(linkTo(context, path), 303);
}

/** A field of a form. @throws UsageError if it is missing or empty */
export async function fieldOf(context: Context<Env>, name: string): Promise<string> {
  const value = (await context.req.parseBody())[name];
  if (typeof value !== 'string' || value.trim() === '') throw new UsageError(`The form lacks ${name}`);
  return value;
}
