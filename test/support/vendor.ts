import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A request that the far side read, with its whole body. */
export type Asked = { method: string; path: string; headers: IncomingHttpHeaders; body: string };

/**
 * Reads the request and never answers; drops the connection; takes the request, and then drops it; answers without an
 * end; or an answer.
 */
export type VendorFault =
  | 'hang'
  | 'drop'
  | 'lost'
  | 'endless'
  | { status: number; headers?: Record<string, string>; body?: string };

export type Vendor = {
  url: string;
  /** What it took. */
  taken: Asked[];
  /** The next requests, so many of them, go wrong. */
  fail(fault: VendorFault, times?: number): void;
  heal(): void;
  /** Resolves when it has read a request that it does not answer. */
  hanging(): Promise<void>;
  close(): Promise<void>;
};

type Answer = { status: number; headers?: Record<string, string>; body?: string };

/**
 * The API of a vendor on a loopback socket.
 * @param answers what it says to each request if nothing goes wrong
 * @param isMessage whether the request sends something; only those are in `taken`
 */
export async function startVendor(
  answers: (asked: Asked) => Answer,
  isMessage: (asked: Asked) => boolean = () => true,
  at = 0,
): Promise<Vendor> {
  const taken: Asked[] = [];
  let failure: { fault: VendorFault; times: number } | undefined;
  let hangs = Promise.withResolvers<void>();
  const sockets = new Set<Socket>();

  const serve = (asked: Asked, response: ServerResponse) => {
    const failed = failure && failure.times-- > 0 ? failure.fault : undefined;
    if (failed === 'hang') return hangs.resolve();
    if (failed === 'drop') return void response.socket?.destroy();
    if (typeof failed === 'object') return void response.writeHead(failed.status, failed.headers).end(failed.body);
    if (isMessage(asked)) taken.push(asked);
    const { status, headers, body } = answers(asked);
    if (failed === 'lost') return void response.socket?.destroy();
    response.writeHead(status, headers);
    if (failed === 'endless') return flood(response);
    response.end(body);
  };
  const server = createServer((request, response) => void read(request).then((asked) => serve(asked, response)));
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(at, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken,
    fail: (fault, times = Infinity) => (failure = { fault, times }),
    heal() {
      failure = undefined;
      hangs = Promise.withResolvers<void>();
    },
    hanging: () => hangs.promise,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function read(request: IncomingMessage): Promise<Asked> {
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk as string;
  return { method: request.method!, path: request.url!, headers: request.headers, body };
}

function flood(response: ServerResponse): void {
  const go = () => {
    while (!response.destroyed && response.write('x'.repeat(10_000)));
    if (!response.destroyed) response.once('drain', go);
  };
  go();
}
