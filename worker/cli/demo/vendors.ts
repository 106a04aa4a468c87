import { generateKeyPairSync } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

const hookPath = '/hooks/orders';

export type Message = { channel: string; to: string; words: string };

/**
 * Stand-ins for Firebase, Slack, Twilio and the receiver of a webhook on loopback, which take each message and send it
 * nowhere.
 * @returns `env`: the settings that lead to them; `hook`: the address of the receiver
 */
export async function startVendors(take: (message: Message) => void) {
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const answer = answerTo(request.url ?? '', await text(request), take);
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? {}));
  };
  // A client that went away does not concern the other requests.
  const server = createServer((request, response) => void serve(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    hook: url + hookPath,
    env: {
      TWILIO_API_URL: url,
      TWILIO_ACCOUNT_SID: `AC${'0'.repeat(32)}`,
      TWILIO_AUTH_TOKEN: 'demo',
      TWILIO_PHONE_NUMBER: '+14155550100',
      TWILIO_WHATSAPP_NUMBER: '+14155550100',
      SLACK_API_URL: url,
      SLACK_BOT_TOKEN: 'xoxb-demo',
      WEBHOOK_ALLOW: '127.0.0.1',
      FCM_URL: url,
      FIREBASE_SERVICE_ACCOUNT: accountOf(`${url}/token`),
    },
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answerTo(path: string, body: string, take: (message: Message) => void): object | undefined {
  if (path === '/token') return { access_token: 'demo', expires_in: 3_600 };
  if (path === '/v1/projects/demo/messages:send') {
    const { token, notification } = JSON.parse(body).message as FcmMessage;
    take({ channel: 'push', to: token, words: `${notification.title}: ${notification.body}` });
    return { name: 'projects/demo/messages/1' };
  }
  if (path === '/chat.postMessage') {
    const { channel, text: words } = JSON.parse(body) as { channel: string; text: string };
    take({ channel: 'slack', to: channel, words });
    return { ok: true, channel, ts: '1700000000.000100' };
  }
  if (path === hookPath) {
    const { type, data } = JSON.parse(body) as { type: string; data: object };
    take({ channel: 'webhook', to: hookPath, words: `${type} ${JSON.stringify(data)}` });
    return {};
  }
  if (/^\/2010-04-01\/Accounts\/AC0{32}\/Messages\.json$/.test(path)) {
    const { To = '', Body = '' } = Object.fromEntries(new URLSearchParams(body));
    const [, whatsapp, to = ''] = /^(whatsapp:)?(.*)$/.exec(To) ?? [];
    take({ channel: whatsapp ? 'whatsapp' : 'sms', to, words: Body });
    return { sid: `SM${'0'.repeat(32)}`, status: 'queued' };
  }
  return undefined;
}

type FcmMessage = { token: string; notification: { title: string; body: string } };

/** The key of a service account, which only the stand-in takes. */
function accountOf(token_uri: string): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return JSON.stringify({
    project_id: 'demo',
    client_email: 'demo@example.com',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    token_uri,
  });
}
