import { createHash, timingSafeEqual } from 'node:crypto';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context, MiddlewareHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { Config } from '../../base/config/config.ts';

// Who may open the dashboard, and who may change something with it.

type User = { name: string; operator: boolean };

/** What the requests of the dashboard carry. */
export type Env = {
  Variables: {
    user: User;
    /** Leads from the page to the dashboard: `../` for each slash in between. */
    up: string;
    /** What the last action did. */
    notice?: string | undefined;
  };
};

/** A wrong password is answered after this time. */
const wrongMs = 300;
/** So many wrong passwords of one address are answered at once; after that, one in `refillMs`. */
const mostWrong = 20;
const refillMs = 3_000;
const longestName = 100;

type Settings = Pick<Config, 'dashboard' | 'publicUrl'>;

/**
 * HTTP basic. There are no cookies, and so no session that could be stolen.
 * @returns undefined if neither password is set: then there is no dashboard
 */
export function authenticated({ dashboard }: Settings): MiddlewareHandler<Env> | undefined {
  const { password, readonlyPassword, userHeader } = dashboard;
  if (password === undefined && readonlyPassword === undefined) return undefined;
  const guesses = new Guesses();
  return async (context, next) => {
    const { req } = context;
    const given = credentialsOf(req.header('authorization'));
    if (!given) return challenge(context);
    const address = addressOf(context);
    if (!guesses.allowed(address))
      return context.text('Too many wrong passwords: wait a minute', 429, { 'retry-after': '60' });
    // Both comparisons are always made.
    const [operator, reader] = [isSame(given.password, password), isSame(given.password, readonlyPassword)];
    if (!operator && !reader) {
      guesses.wrong(address);
      await new Promise((resolve) => setTimeout(resolve, wrongMs));
      return challenge(context);
    }
    const named = userHeader === undefined ? undefined : req.header(userHeader);
    context.set('user', { name: nameOf(named) || nameOf(given.user) || 'nobody', operator });
    await next();
  };
}

/**
 * A handler that changes something calls this first: what a page shows is no protection.
 * @throws HTTPException 403 for who may only read
 */
export function operatorOf(context: Context<Env>): User {
  const user = context.get('user');
  if (!user.operator) throw new HTTPException(403, { message: 'You may look, and change nothing: see README.md' });
  return user;
}

/**
 * Refuses what a page of another site sends. Browsers say where a request comes from; over plain HTTP they say only
 * its origin. https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
 */
export function sameSite({ publicUrl }: Settings): MiddlewareHandler<Env> {
  const own = publicUrl === undefined ? undefined : URL.parse(publicUrl)?.host;
  return async ({ req }, next) => {
    if (req.method !== 'GET' && req.method !== 'HEAD' && !isOwn(req.header(), own))
      throw new HTTPException(403, { message: 'This request comes from another site' });
    await next();
  };
}

function isOwn(headers: Record<string, string>, own: string | undefined): boolean {
  const site = headers['sec-fetch-site'];
  if (site !== undefined) return site === 'same-origin' || site === 'none';
  const host = URL.parse(headers['origin'] ?? '')?.host;
  return Boolean(host) && (host === headers['host'] || host === own);
}

function challenge(context: Context): Response {
  return context.text('A user name and a password, please', 401, {
    'www-authenticate': 'Basic realm="rowmill", charset="UTF-8"',
    'cache-control': 'no-store',
  });
}

function credentialsOf(authorization: string | undefined): { user: string; password: string } | undefined {
  const [, encoded] = /^basic +([\w+/=-]{1,4000})$/i.exec(authorization?.trim() ?? '') ?? [];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString();
  const colon = text.indexOf(':');
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** In the same time, however much of it is right. */
function isSame(given: string, expected: string | undefined): boolean {
  const same = timingSafeEqual(hashOf(given), hashOf(expected ?? ''));
  return same && expected !== undefined;
}

const hashOf = (text: string) => createHash('sha256').update(text).digest();

/** A name as the table of actions keeps it. */
const nameOf = (text = '') =>
  text
    .replace(/[\p{Cc}\p{Bidi_Control}]/gu, '')
    .toWellFormed()
    .trim()
    .slice(0, longestName);

/** Behind a proxy all clients have the address of the proxy. Without a socket, as in tests, they have none. */
function addressOf(context: Context): string {
  try {
    return getConnInfo(context).remote.address ?? '';
  } catch {
    return '';
  }
}

/** Counts wrong passwords by address. Old counts are forgotten, so that the map stays small. */
class Guesses {
  readonly #wrong = new Map<string, { count: number; at: number }>();

  allowed(address: string): boolean {
    return this.#count(address) < mostWrong;
  }

  wrong(address: string): void {
    const count = this.#count(address) + 1;
    this.#wrong.delete(address);
    this.#wrong.set(address, { count, at: Date.now() });
    for (const oldest of this.#wrong.keys()) {
      if (this.#wrong.size <= 10_000 && this.#count(oldest) > 0) break;
      this.#wrong.delete(oldest);
    }
  }

  #count(address: string): number {
    const known = this.#wrong.get(address);
    return known ? Math.max(0, known.count - (Date.now() - known.at) / refillMs) : 0;
  }
}
