import type { Config } from '../../../base/config/config.ts';
import type { Auth } from '../auth.ts';
import { ReconnectNeeded } from '../errors.ts';
import { exchange, formOf, formType, jsonIn, listIn, objectIn, wordIn } from '../exchange.ts';
import { appOf, tokensIn } from '../oauth.ts';
import { judgeYouTube } from './errors.ts';
import { service } from './service.ts';

const scopes = [
  'https://www.googleapis.com/auth/youtube.upload',
  'https://www.googleapis.com/auth/youtube.readonly',
  'https://www.googleapis.com/auth/yt-analytics.readonly',
];

/** https://developers.google.com/identity/protocols/oauth2/web-server: an access token is good for an hour. */
export function createYouTubeAuth({ social: { youtube, timeoutMs } }: Pick<Config, 'social'>): Auth {
  const ask = async (fields: Record<string, string>, signal: AbortSignal) => {
    const { id, secret } = appOf(youtube.app, service);
    const body = formOf({ client_id: id, client_secret: secret, ...fields });
    const url = new URL(youtube.tokenUrl);
    return tokensIn(
      await exchange(url, { service, method: 'POST', headers: formType, body, timeoutMs, signal }),
      service,
    );
  };
  return {
    appId: youtube.app?.id,
    consentUrl({ state, challenge }) {
      const url = new URL('https://accounts.google.com/o/oauth2/v2/auth');
      const { id } = appOf(youtube.app, service);
      url.search = formOf({
        client_id: id,
        response_type: 'code',
        scope: scopes.join(' '),
        redirect_uri: youtube.redirectUri,
        state,
        code_challenge: challenge,
        code_challenge_method: 'S256',
        // Without both, Google gives no refresh token to somebody who said yes before.
        access_type: 'offline',
        prompt: 'consent',
      });
      return url;
    },
    async connect({ code, verifier, signal }) {
      const fields = { grant_type: 'authorization_code', code, code_verifier: verifier };
      const { json: _, ...tokens } = await ask({ ...fields, redirect_uri: youtube.redirectUri ?? '' }, signal);
      const url = new URL(`${youtube.url}/youtube/v3/channels?part=snippet&mine=true`);
      const headers = { authorization: `Bearer ${tokens.access_token}` };
      const answer = await exchange(url, { service, headers, timeoutMs, signal });
      if (answer.status !== 200) throw judgeYouTube(answer);
      const [channel] = listIn(jsonIn(answer), 'items');
      if (!channel) throw new ReconnectNeeded('YouTube: this user has no channel');
      const name = wordIn(objectIn(channel, 'snippet'), 'title');
      return [{ ...tokens, external_id: wordIn(channel, 'id') ?? '', name }];
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
