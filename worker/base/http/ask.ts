import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import type { Readable } from 'node:stream';
import type { Guard } from './guard.ts';

export type Asking = {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  headers: Record<string, string>;
  /** A stream is read as the connection takes it, and destroyed when the request has ended. */
  body?: string | Buffer | { stream: Readable; bytes: number } | undefined;
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
    const stream = typeof body === 'object' && 'stream' in body ? body.stream : undefined;
    const length = body === undefined ? {} : { 'content-length': String(lengthOf(body)) };
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
    if (!stream) return void asking.end(body);
    stream.on('error', (error) => asking.destroy(error));
    asking.on('close', () => stream.destroy());
    stream.pipe(asking);
  });
}

const lengthOf = (body: NonNullable<Asking['body']>) =>
  typeof body === 'object' && 'stream' in body ? body.bytes : Buffer.byteLength(body);
