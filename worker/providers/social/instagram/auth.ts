import type { Config } from '../../../base/config/config.ts';
import type { Auth } from '../auth.ts';
import { ReconnectNeeded, TokenRefused } from '../errors.ts';
import { exchange, formOf, formType, jsonIn, wordIn } from '../exchange.ts';
import { judgeMeta } from '../meta-errors.ts';
import { appOf, tokensIn } from '../oauth.ts';
import { service } from './service.ts';

const scopes = ['instagram_business_basic', 'instagram_business_content_publish', 'instagram_business_manage_insights'];

/**
 * Instagram Login: a token is good for 60 days, and is renewed by itself.
 * https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
 */
export function createInstagramAuth({ social: { instagram, timeoutMs } }: Pick<Config, 'social'>): Auth {
  const read = async (path: string, fields: Record<string, string>, signal: AbortSignal) => {
    const answer = await exchange(new URL(`${instagram.url}${path}?${formOf(fields)}`), { service, timeoutMs, signal });
    if (answer.status === 200) return answer;
    const error = judgeMeta(answer, service.name);
    throw error instanceof TokenRefused ? new ReconnectNeeded(error.message) : error;
  };
  return {
    appId: instagram.app?.id,
    consentUrl({ state }) {
      const url = new URL('https://www.instagram.com/oauth/authorize');
      const { id } = appOf(instagram.app, service);
      url.search = formOf({
        client_id: id,
        response_type: 'code',
        scope: scopes.join(','),
        redirect_uri: instagram.redirectUri,
        state,
      });
      return url;
    },
    async connect({ code, signal }) {
      const { id, secret } = appOf(instagram.app, service);
      const grant = { grant_type: 'authorization_code', code, redirect_uri: instagram.redirectUri ?? '' };
      const body = formOf({ client_id: id, client_secret: secret, ...grant });
      const asked = { service, method: 'POST' as const, headers: formType, body, timeoutMs, signal };
      const short = tokensIn(await exchange(new URL(instagram.tokenUrl), asked), service);
      const swap = { grant_type: 'ig_exchange_token', client_secret: secret, access_token: short.access_token };
      const long = tokensIn(await read('/access_token', swap, signal), service);
      const fields = { fields: 'user_id,username', access_token: long.access_token };
      const me = jsonIn(await read(`/${instagram.version}/me`, fields, signal));
      const { json: _, ...tokens } = long;
      return [{ ...tokens, external_id: wordIn(me, 'user_id') ?? '', name: wordIn(me, 'username') }];
    },
    async renew({ access_token }, { signal }) {
      const fields = { grant_type: 'ig_refresh_token', access_token };
      const { json: _, ...tokens } = tokensIn(await read('/refresh_access_token', fields, signal), service);
      return tokens;
    },
  };
}
