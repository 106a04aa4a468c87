import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Guard } from './guard.ts';

export type Asking = {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  headers: Record<string, string>;
  body?: string | Buffer | undefined;
  signal: AbortSignal;
  /** What the connection may go to. Such a request has a connection of its own: another one was not guarded. */
  guard?: Guard | undefined;
  /** Called when there is a connection on which the request is written. Before that it can have had no effect. */
  onSent?: () => void;
};

/** One request over HTTP or HTTPS, up to the headers of its answer. */
export async function ask(url: URL, { body, guard, onSent, ...options }: Asking): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const guarded = guard ? { lookup: guard.lookup, agent: false } : {};
  guard?.check(url);
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const asking = (secure ? https : http).request(
      url,
      { ...options, headers: { ...options.headers, ...length }, ...guarded },
      resolve,
    );
    asking.on('error', reject);
    if (onSent)
      asking.on('socket', (socket) => {
        if (asking.reusedSocket) onSent();
        else socket.once(secure ? 'secureConnect' : 'connect', onSent);
      });
    // Without this handler, a response 101 would never settle the promise.
    asking.on('upgrade', (_, socket) => {
      socket.destroy();
      reject(new Error('it switched protocols'));
    });
    asking.end(body);
  });
}
