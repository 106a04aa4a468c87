import { PermanentError } from '../../base/errors.ts';
import type { Service } from '../../base/http/fetch.ts';
import type { Answer } from '../../base/http/request.ts';
import type { Tokens } from './auth.ts';
import { Limited, ReconnectNeeded, unavailable } from './errors.ts';
import { isOk, jsonIn, numberIn, said, wordIn, type Json } from './exchange.ts';

/** What OAuth 2.0 has in common. https://www.rfc-editor.org/rfc/rfc6749#section-5.2 */

const refusedAppMs = 600_000;

/** @throws PermanentError `social_not_configured` */
export function appOf<App>(app: App | undefined, { name, settings }: Service): App {
  if (!app)
    throw new PermanentError(
      'social_not_configured',
      `${name}: ${settings.secret} are not set: no token can be renewed`,
    );
  return app;
}

/** @throws what an answer means that has no tokens */
export function tokensIn(answer: Answer, service: Service): Tokens & { json: Json } {
  const json = jsonIn(answer);
  const access_token = wordIn(json, 'access_token');
  if (!isOk(answer) || !access_token) throw judgeTokenError(answer, json, service);
  return {
    json,
    access_token,
    refresh_token: wordIn(json, 'refresh_token'),
    lives: numberIn(json, 'expires_in'),
    scopes: wordIn(json, 'scope')?.split(/[ ,]+/),
  };
}

function judgeTokenError({ status }: Answer, json: Json, { name, settings }: Service): Error {
  const code = wordIn(json, 'error') ?? '';
  const words = `${name} answered ${status}${code && ` ${code}`}${said(wordIn(json, 'error_description'))}`;
  if (status >= 500 || status === 429) return unavailable(words);
  // The fault of the app and not of the account: all accounts of the platform wait until somebody corrects it.
  if (/^(invalid_client|unauthorized_client|deleted_client|invalid_client_secret)/.test(code))
    return new Limited('app', refusedAppMs, `${words}: check ${settings.secret}`);
  if (status === 400 || status === 401 || status === 403 || code !== '') return new ReconnectNeeded(words);
  return unavailable(words);
}
