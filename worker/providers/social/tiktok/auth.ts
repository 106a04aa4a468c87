import type { Config } from '../../../base/config/config.ts';
import type { Auth } from '../auth.ts';
import { exchange, formOf, formType, wordIn } from '../exchange.ts';
import { appOf, tokensIn } from '../oauth.ts';
import { service } from './service.ts';

const scopes = ['user.info.basic', 'user.info.stats', 'video.publish', 'video.upload', 'video.list'];

/**
 * https://developers.tiktok.com/doc/oauth-user-access-token-management: an access token is good for a day, a refresh
 * token for a year. Each renewal may bring another refresh token.
 */
export function createTikTokAuth({ social: { tiktok, timeoutMs } }: Pick<Config, 'social'>): Auth {
  const ask = async (fields: Record<string, string>, signal: AbortSignal) => {
    const { id, secret } = appOf(tiktok.app, service);
    const body = formOf({ client_key: id, client_secret: secret, ...fields });
    const url = new URL(`${tiktok.url}/v2/oauth/token/`);
    return tokensIn(
      await exchange(url, { service, method: 'POST', headers: formType, body, timeoutMs, signal }),
      service,
    );
  };
  return {
    appId: tiktok.app?.id,
    consentUrl({ state }) {
      const url = new URL('https://www.tiktok.com/v2/auth/authorize/');
      const { id } = appOf(tiktok.app, service);
      url.search = formOf({
        client_key: id,
        response_type: 'code',
        scope: scopes.join(','),
        redirect_uri: tiktok.redirectUri,
        state,
      });
      return url;
    },
    async connect({ code, signal }) {
      const fields = { grant_type: 'authorization_code', code, redirect_uri: tiktok.redirectUri ?? '' };
      const { json, ...tokens } = await ask(fields, signal);
      return [{ ...tokens, external_id: wordIn(json, 'open_id') ?? '' }];
    },
    async renew({ refresh_token }, { signal }) {
      const { json: _, ...tokens } = await ask(
        { grant_type: 'refresh_token', refresh_token: refresh_token ?? '' },
        signal,
      );
      return tokens;
    },
  };
}
