import type { Config } from '../../../base/config/config.ts';
import type { Auth, Connected } from '../auth.ts';
import { ReconnectNeeded, TokenRefused } from '../errors.ts';
import { exchange, formOf, jsonIn, listIn, wordIn } from '../exchange.ts';
import { judgeMeta } from '../meta-errors.ts';
import { appOf, tokensIn } from '../oauth.ts';
import { service } from './service.ts';

const scopes = ['pages_show_list', 'pages_manage_posts', 'pages_read_engagement', 'read_insights', 'publish_video'];

/**
 * The token of a page is made of the token of a user who manages it, and does not expire. It becomes void with the
 * user's password, and with the user's permission. https://developers.facebook.com/docs/pages-api/getting-started
 */
export function createFacebookAuth({ social: { facebook, timeoutMs } }: Pick<Config, 'social'>): Auth {
  const { url, version } = facebook;
  const read = async (path: string, fields: Record<string, string>, signal: AbortSignal) => {
    const answer = await exchange(new URL(`${url}/${version}${path}?${formOf(fields)}`), {
      service,
      timeoutMs,
      signal,
    });
    if (answer.status === 200) return answer;
    const error = judgeMeta(answer, service.name);
    throw error instanceof TokenRefused ? new ReconnectNeeded(error.message) : error;
  };
  /** A token of the user that is good for 60 days. */
  const longLived = async (token: string, signal: AbortSignal) => {
    const { id, secret } = appOf(facebook.app, service);
    const fields = { grant_type: 'fb_exchange_token', client_id: id, client_secret: secret, fb_exchange_token: token };
    return tokensIn(await read('/oauth/access_token', fields, signal), service).access_token;
  };
  return {
    appId: facebook.app?.id,
    consentUrl({ state }) {
      const consent = new URL(`https://www.facebook.com/${version}/dialog/oauth`);
      const { id } = appOf(facebook.app, service);
      consent.search = formOf({
        client_id: id,
        response_type: 'code',
        scope: scopes.join(','),
        redirect_uri: facebook.redirectUri,
        state,
      });
      return consent;
    },
    async connect({ code, signal }) {
      const { id, secret } = appOf(facebook.app, service);
      const grant = { client_id: id, client_secret: secret, redirect_uri: facebook.redirectUri ?? '', code };
      const short = tokensIn(await read('/oauth/access_token', grant, signal), service).access_token;
      const user = await longLived(short, signal);
      const fields = { fields: 'id,name,access_token', limit: '100', access_token: user };
      const pages = listIn(jsonIn(await read('/me/accounts', fields, signal)), 'data').flatMap((page): Connected[] => {
        const access_token = wordIn(page, 'access_token');
        const external_id = wordIn(page, 'id');
        if (!access_token || !external_id) return [];
        return [{ external_id, name: wordIn(page, 'name'), access_token, refresh_token: user }];
      });
      if (pages.length === 0) throw new ReconnectNeeded('Facebook: this user manages no page, or gave none away');
      return pages;
    },
    async renew({ external_id, refresh_token }, { signal }) {
      const user = await longLived(refresh_token ?? '', signal);
      const page = jsonIn(await read(`/${external_id}`, { fields: 'access_token', access_token: user }, signal));
      const access_token = wordIn(page, 'access_token');
      if (!access_token) throw new ReconnectNeeded('Facebook: the user no longer manages this page');
      return { access_token, refresh_token: user };
    },
  };
}
