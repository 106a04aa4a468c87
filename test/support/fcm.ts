import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A message as FCM's HTTP API takes it. */
export type FcmMessage = {
  token: string;
  notification: { title?: string; body?: string; image?: string };
  data?: Record<string, string>;
  android: { priority?: string; ttl?: string; collapse_key?: string; notification: Record<string, string> };
  apns: { headers: Record<string, string>; payload: { aps: Record<string, unknown> } };
  webpush: { headers?: Record<string, string>; fcm_options?: { link: string } };
};

export type FcmFault =
  | 'hang'
  | 'drop'
  | 'endless'
  | { status: number; headers?: Record<string, string>; body?: string };

export type FakeFcm = {
  url: string;
  /** Settings that lead to it. */
  env: Record<string, string>;
  /** What it took, in their order. */
  taken: FcmMessage[];
  /** How many messages were to be sent or checked, also those that it did not take. */
  asked(): number;
  /** How many access tokens it gave out. */
  tokens(): number;
  /** The next messages, so many of them, go wrong: all, or those to a device. */
  fail(fault: FcmFault, options?: { times?: number; token?: string }): void;
  /** What becomes of a message, by what it is; before `fail`. */
  judge(decide: (message: FcmMessage) => FcmFault | undefined): void;
  /** How long it thinks about each message. */
  delay(ms: number): void;
  heal(): void;
  /** Resolves when it has read a message that it does not answer. */
  hanging(): Promise<void>;
  close(): Promise<void>;
};

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;

/** The body of an error as FCM answers it. */
export const fcmError = (status: string, errorCode?: string, message = 'no', details: object[] = []) =>
  JSON.stringify({
    error: {
      status,
      message,
      details: [
        ...(errorCode ? [{ '@type': 'type.googleapis.com/google.firebase.fcm.v1.FcmError', errorCode }] : []),
        ...details,
      ],
    },
  });

/** FCM and the server of access tokens, over a loopback socket. */
export async function startFcm(): Promise<FakeFcm> {
  const taken: FcmMessage[] = [];
  let given = 0;
  let requests = 0;
  let faults: { fault: FcmFault; times: number; token: string | undefined }[] = [];
  let decide: (message: FcmMessage) => FcmFault | undefined = () => undefined;
  let delayMs = 0;
  let hangs = Promise.withResolvers<void>();

  async function answer(asked: IncomingMessage, answering: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of asked) body += String(chunk);
    const say = (status: number, text: string, headers: Record<string, string> = {}) =>
      answering.writeHead(status, { 'content-type': 'application/json', ...headers }).end(text);
    if (asked.url === '/token')
      return void say(200, JSON.stringify({ access_token: `access-${++given}`, expires_in: 3_600 }));
    if (asked.url !== '/v1/projects/shop/messages:send') return void say(404, '{}');
    if (!asked.headers.authorization?.startsWith('Bearer access-')) return void say(401, fcmError('UNAUTHENTICATED'));
    requests += 1;
    const { message, validate_only } = JSON.parse(body) as { message: FcmMessage; validate_only?: boolean };
    if (delayMs > 0) await sleep(delayMs);
    const failure = faults.find(({ times, token }) => times > 0 && (token === undefined || token === message.token));
    const fault = decide(message) ?? failure?.fault;
    if (failure && fault === failure.fault) failure.times -= 1;
    if (typeof fault === 'object') return void say(fault.status, fault.body ?? '', fault.headers);
    if (fault === 'hang') return hangs.resolve();
    if (fault === 'drop') return void asked.socket.destroy();
    if (fault === 'endless') return flood(answering);
    if (!validate_only) taken.push(message);
    say(200, JSON.stringify({ name: `projects/shop/messages/${taken.length}` }));
  }

  const server = createServer((asked, answering) => void answer(asked, answering).catch(() => {}));
  // If it closes a connection while a request comes, that is an unknown outcome. On a busy machine, node's five
  // seconds pass between two requests.
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    env: { FIREBASE_SERVICE_ACCOUNT: accountOf(`${url}/token`), FCM_URL: url },
    taken,
    asked: () => requests,
    tokens: () => given,
    fail: (fault, { times = Infinity, token } = {}) => void faults.push({ fault, times, token }),
    judge: (by) => void (decide = by),
    delay: (ms) => void (delayMs = ms),
    heal() {
      faults = [];
      decide = () => undefined;
      delayMs = 0;
      hangs = Promise.withResolvers();
    },
    hanging: () => hangs.promise,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

export const accountOf = (token_uri: string, key: string = pem) =>
  JSON.stringify({
    type: 'service_account',
    project_id: 'shop',
    client_email: 'push@shop.iam.gserviceaccount.com',
    private_key: key,
    token_uri,
  });

/** One answer without an end. */
function flood(answering: ServerResponse): void {
  answering.writeHead(200, { 'content-type': 'application/json' });
  const go = () => {
    while (!answering.destroyed && answering.write('x'.repeat(1_000)));
    if (!answering.destroyed) answering.once('drain', go);
  };
  go();
}
