import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';

export type Asking = {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  headers: Record<string, string>;
  body?: string | Buffer | undefined;
  signal: AbortSignal;
  /** Resolves host names, in place of the system. */
  lookup?: http.RequestOptions['lookup'] | undefined;
  /** Called when there is a connection on which the request is written. Before that it can have had no effect. */
  onSent?: () => void;
};

/** One request over HTTP or HTTPS, up to the headers of its answer. */
export function ask(url: URL, { body, lookup, onSent, ...options }: Asking): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const asking = (secure ? https : http).request(
      url,
      { ...options, headers: { ...options.headers, ...length }, ...(lookup ? { lookup } : {}) },
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
